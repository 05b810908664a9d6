//! Which sessions are still there when their clients return: Refrain's engine and eviction policies from the literature on
//! the same connections, with room for a part of the sessions that are alive.

mod policy;
mod replay;
mod traffic;

use serde_json::{Value, json};

use crate::args::Options;
use crate::progress::Progress;
use crate::stop;
use crate::table::markdown;

use policy::{Belady, Clock, Fifo, Lru, S3Fifo, Sieve, SoonestToExpire, Unlimited};
use replay::{Engine, Score, Simulated, replay};
use traffic::{Mix, Scale, Visit};

/// Room for so many of a hundred sessions alive.
const PERCENT: [usize; 5] = [1, 2, 5, 10, 25];

/// Plays connections against a store with so much room, and counts from a moment on.
type Play = fn(&[Visit], u32, usize) -> Score;

/// Everybody, by name. Belady's comes last.
const CONTESTANTS: [(&str, Play); 8] = [
    ("refrain", |visits, from, room| {
        replay(visits, from, &mut Engine::new(room))
    }),
    ("fifo", |visits, from, room| {
        replay(visits, from, &mut Simulated::<Fifo>::new(room))
    }),
    ("lru", |visits, from, room| {
        replay(visits, from, &mut Simulated::<Lru>::new(room))
    }),
    ("clock", |visits, from, room| {
        replay(visits, from, &mut Simulated::<Clock>::new(room))
    }),
    ("sieve", |visits, from, room| {
        replay(visits, from, &mut Simulated::<Sieve>::new(room))
    }),
    ("s3-fifo", |visits, from, room| {
        replay(visits, from, &mut Simulated::<S3Fifo>::new(room))
    }),
    ("soonest-to-expire", |visits, from, room| {
        replay(visits, from, &mut Simulated::<SoonestToExpire>::new(room))
    }),
    ("belady", |visits, from, room| {
        replay(visits, from, &mut Simulated::<Belady>::new(room))
    }),
];

/// One traffic's table.
#[derive(Debug)]
pub(crate) struct Table {
    mix: Mix,
    connections: usize,
    unlimited: Score,
    rooms: Vec<usize>,
    rows: Vec<(&'static str, Vec<Score>)>,
}

/// Plays all. `shown` gets each table when it is complete.
pub(crate) fn run(options: &Options, mut shown: impl FnMut(&str)) -> (String, Value) {
    let (scale, from) = match options.quick {
        true => (
            Scale {
                length: 5400,
                rate: 5.0,
            },
            3_600_000,
        ),
        false => (
            Scale {
                length: 10_800,
                rate: 25.0,
            },
            3_600_000,
        ),
    };
    let progress = Progress::start((Mix::ALL.len() * PERCENT.len() * CONTESTANTS.len()) as u64);
    let (mut text, mut tables) = (String::new(), Vec::new());
    for mix in Mix::ALL {
        progress.begin(format_args!("{}: every session kept", mix.name()));
        let visits = traffic::visits(mix, scale, options.seed);
        let unlimited = replay(&visits, from, &mut Simulated::<Unlimited>::new(0));
        let room = |percent: &usize| (unlimited.live as usize * percent / 100).max(1);
        let mut table = Table {
            mix,
            connections: visits.len(),
            unlimited,
            rooms: PERCENT.iter().map(room).collect(),
            rows: Vec::new(),
        };
        for (name, play) in CONTESTANTS {
            progress.begin(format_args!("{}: {name}", mix.name()));
            let mut scores = Vec::new();
            for room in &table.rooms {
                if stop::is_asked() {
                    return (text, Value::from(tables));
                }
                scores.push(play(&visits, from, *room));
                progress.step(1);
            }
            table.rows.push((name, scores));
        }
        let one = table.text();
        progress.print(|| shown(&one));
        text += &one;
        tables.push(table.json());
    }
    (text, Value::from(tables))
}

impl Table {
    fn text(&self) -> String {
        let mut head = vec!["policy".to_owned()];
        let rooms = PERCENT.iter().zip(&self.rooms);
        head.extend(rooms.map(|(percent, room)| format!("{percent} % ({room})")));
        let rows: Vec<Vec<String>> = self
            .rows
            .iter()
            .map(|(name, scores)| {
                let mut cells = vec![(*name).to_owned()];
                cells.extend(scores.iter().map(|score| percent(score.ratio())));
                cells
            })
            .collect();
        format!(
            "\n### {}: {}\n\nReturning connections that resume, in percent, with room for a part of the {:.0} sessions \
             that are alive on average. {} connections; without limit {}.\n\n{}",
            self.mix.name(),
            self.mix.what(),
            self.unlimited.live,
            self.connections,
            percent(self.unlimited.ratio()),
            markdown(&head, &rows)
        )
    }

    fn json(&self) -> Value {
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|(name, scores)| {
                let ratios: Vec<f64> = scores.iter().map(Score::ratio).collect();
                json!({"policy": name, "ratios": ratios})
            })
            .collect();
        json!({
            "traffic": self.mix.name(),
            "what": self.mix.what(),
            "connections": self.connections,
            "returns": self.unlimited.returns,
            "alive": self.unlimited.live,
            "without_limit": self.unlimited.ratio(),
            "percent": PERCENT,
            "rooms": self.rooms,
            "policies": rows,
        })
    }
}

fn percent(part: f64) -> String {
    format!("{:.2}", 100.0 * part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_beats_belady_nor_no_limit_and_nobody_has_more_than_his_room() {
        let scale = Scale {
            length: 5400,
            rate: 1.0,
        };
        for mix in Mix::ALL {
            let visits = traffic::visits(mix, scale, 1);
            let from = 1_800_000;
            let unlimited = replay(&visits, from, &mut Simulated::<Unlimited>::new(0));
            let room = unlimited.live as usize / 10;
            let scores: Vec<Score> = CONTESTANTS
                .iter()
                .map(|(_, play)| play(&visits, from, room))
                .collect();
            let belady = scores[CONTESTANTS.len() - 1];
            for ((name, _), score) in CONTESTANTS.iter().zip(&scores) {
                assert!(score.most <= room, "{name} has {} of {room}", score.most);
                assert_eq!(score.returns, unlimited.returns);
                assert!(score.hits > 0 && score.hits <= unlimited.hits, "{name}");
                // A session that is not evicted may expire later, so that Belady is only nearly the best.
                let best = belady.ratio() + 0.002;
                assert!(score.ratio() <= best, "{name}: {} of {best}", score.ratio());
            }
        }
    }

    #[test]
    fn the_engine_with_room_for_all_is_as_good_as_no_limit() {
        let scale = Scale {
            length: 5400,
            rate: 1.0,
        };
        let visits = traffic::visits(Mix::Everything, scale, 2);
        let unlimited = replay(&visits, 0, &mut Simulated::<Unlimited>::new(0));
        let engine = replay(&visits, 0, &mut Engine::new(unlimited.most + 100));
        assert_eq!(engine.hits, unlimited.hits);
    }
}
