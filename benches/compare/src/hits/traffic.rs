//! Connections as a TLS server sees them, from a seed.
//!
//! * **TLS 1.2**: clients chosen by Zipf's law come for a visit: some connections, with log-normal pauses between them.
//!   Each offers the session of the one before, which is used over and over until it expires.
//! * **TLS 1.3**: the same, but each connection brings two tickets, each of which works once. The next connection offers
//!   the first; a client that opens two at once also the second. Nobody ever offers what is left over.
//! * **Scanners**: one connection and never again, a few all the time, and now and then a flood.
//!
//! When who comes does not depend on what the cache does, so what a session will be asked for is known beforehand: that
//! is what Belady's policy needs.

use std::collections::HashMap;

use crate::random::Random;
use crate::zipf::{EXPONENT, Zipf};

/// Never again.
pub(super) const NEVER: u32 = u32::MAX;
/// Milliseconds that a TLS 1.2 session lives.
pub(super) const LIFE_OF_IDS: u32 = 3_600_000;
/// Milliseconds that a TLS 1.3 ticket lives.
pub(super) const LIFE_OF_TICKETS: u32 = 1_800_000;

/// Clients of each version.
const POPULATION: usize = 200_000;
/// Another connection follows so often.
const RETURN: f64 = 0.7;
/// A TLS 1.3 client opens two at once so often.
const PAIR: f64 = 0.3;
/// The pause between two connections of a visit: its median in seconds, and how far it strays.
const PAUSE: (f64, f64) = (20.0, 1.5);
/// A flood of scanners each so many seconds, for so many.
const FLOOD: (f64, f64) = (600.0, 60.0);

/// Which clients there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mix {
    Ids,
    Tickets,
    Everything,
}

impl Mix {
    pub(super) const ALL: [Self; 3] = [Self::Ids, Self::Tickets, Self::Everything];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ids => "tls12",
            Self::Tickets => "tls13",
            Self::Everything => "mixed",
        }
    }

    pub(super) fn what(self) -> &'static str {
        match self {
            Self::Ids => "TLS 1.2 clients that return by Zipf's law, with pauses",
            Self::Tickets => "TLS 1.3 clients with two single-use tickets from each connection",
            Self::Everything => "both, and floods of scanners that never come back",
        }
    }
}

/// What a client does with what it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Offers the session of the client's connection before.
    Ids,
    /// Offers a ticket of an earlier connection: of which, and whether it is the second.
    Tickets(Option<(u32, bool)>),
}

/// One connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Visit {
    /// Milliseconds from the beginning.
    pub(super) at: u32,
    pub(super) client: u32,
    pub(super) kind: Kind,
    /// When what it leaves behind will be offered: the session, or each of both tickets.
    pub(super) next: [u32; 2],
}

/// How much there is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    /// Seconds.
    pub(super) length: u32,
    /// New visits of each version in a second. Scanners in proportion.
    pub(super) rate: f64,
}

/// A connection before it is known what becomes of it.
#[derive(Clone, Copy, Debug)]
struct Arrival {
    at: u32,
    client: u32,
    tickets: bool,
}

/// All connections in their order.
pub(super) fn visits(mix: Mix, scale: Scale, seed: u64) -> Vec<Visit> {
    let mut arrivals = Vec::new();
    if mix != Mix::Tickets {
        returning(&mut arrivals, scale, false, &mut Random::new(seed, 1));
    }
    if mix != Mix::Ids {
        returning(&mut arrivals, scale, true, &mut Random::new(seed, 2));
    }
    if mix == Mix::Everything {
        scanning(&mut arrivals, scale, &mut Random::new(seed, 3));
    }
    arrivals.sort_by_key(|arrival| (arrival.at, arrival.client));
    chained(&arrivals)
}

fn returning(arrivals: &mut Vec<Arrival>, scale: Scale, tickets: bool, random: &mut Random) {
    let law = Zipf::new(POPULATION, EXPONENT);
    let end = f64::from(scale.length);
    let first = if tickets { POPULATION as u32 } else { 0 };
    let mut start = 0.0;
    loop {
        start += -(1.0 - random.unit()).ln() / scale.rate;
        if start >= end {
            return;
        }
        let client = first + law.rank(random) as u32;
        let mut now = start;
        while now < end {
            let arrival = Arrival {
                at: (now * 1000.0) as u32,
                client,
                tickets,
            };
            arrivals.push(arrival);
            if tickets && random.unit() < PAIR {
                arrivals.push(arrival);
            }
            if random.unit() >= RETURN {
                break;
            }
            now += PAUSE.0 * (PAUSE.1 * normal(random)).exp();
        }
    }
}

/// By Box and Muller.
fn normal(random: &mut Random) -> f64 {
    let (one, other) = (1.0 - random.unit(), random.unit());
    (-2.0 * one.ln()).sqrt() * (std::f64::consts::TAU * other).cos()
}

fn scanning(arrivals: &mut Vec<Arrival>, scale: Scale, random: &mut Random) {
    let mut client = 2 * POPULATION as u32;
    let mut now = 0.0;
    while now < f64::from(scale.length) {
        let floods = now % FLOOD.0 >= FLOOD.0 - FLOOD.1;
        let rate = scale.rate * if floods { 15.0 } else { 0.25 };
        now += -(1.0 - random.unit()).ln() / rate;
        let at = (now * 1000.0) as u32;
        arrivals.push(Arrival {
            at,
            client,
            tickets: false,
        });
        client += 1;
    }
}

/// Finds out who offers what.
fn chained(arrivals: &[Arrival]) -> Vec<Visit> {
    let mut visits: Vec<Visit> = Vec::with_capacity(arrivals.len());
    // For each client its latest connection; and of tickets, whether the second of it is still to be offered.
    let mut latest: HashMap<u32, u32> = HashMap::new();
    for (n, arrival) in arrivals.iter().enumerate() {
        let before = latest.get(&arrival.client).copied();
        let kind = match (arrival.tickets, before) {
            (false, before) => {
                if let Some(before) = before {
                    visits[before as usize].next[0] = arrival.at;
                }
                Kind::Ids
            }
            (true, None) => Kind::Tickets(None),
            (true, Some(before)) => {
                let twin = visits[before as usize];
                // The second of two at once has the other ticket of the same connection.
                let offer = match twin.kind {
                    Kind::Tickets(Some((origin, false))) if twin.at == arrival.at => (origin, true),
                    _ => (before, false),
                };
                // Two at once without anything to offer get tickets each.
                let first_of_all = twin.at == arrival.at && twin.kind == Kind::Tickets(None);
                if first_of_all {
                    Kind::Tickets(None)
                } else {
                    visits[offer.0 as usize].next[usize::from(offer.1)] = arrival.at;
                    Kind::Tickets(Some(offer))
                }
            }
        };
        visits.push(Visit {
            at: arrival.at,
            client: arrival.client,
            kind,
            next: [NEVER; 2],
        });
        latest.insert(arrival.client, n as u32);
    }
    visits
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCALE: Scale = Scale {
        length: 1200,
        rate: 5.0,
    };

    #[test]
    fn what_is_offered_was_given_and_only_once() {
        let visits = visits(Mix::Everything, SCALE, 1);
        let mut offered = std::collections::HashSet::new();
        let mut pairs = 0;
        for (n, visit) in visits.iter().enumerate() {
            assert!(n == 0 || visits[n - 1].at <= visit.at);
            if let Kind::Tickets(Some((origin, second))) = visit.kind {
                let giver = &visits[origin as usize];
                assert!((origin as usize) < n && giver.client == visit.client);
                assert!(matches!(giver.kind, Kind::Tickets(_)));
                assert_eq!(giver.next[usize::from(second)], visit.at);
                assert!(offered.insert((origin, second)), "offered twice");
                pairs += usize::from(second);
            }
        }
        assert!(
            offered.len() > 1000 && pairs > 100,
            "{} {pairs}",
            offered.len()
        );
    }

    #[test]
    fn scanners_never_return_and_flood() {
        let visits = visits(Mix::Everything, SCALE, 1);
        let scanners = |visit: &&Visit| visit.client >= 2 * POPULATION as u32;
        assert!(visits.iter().filter(scanners).all(|v| v.next == [NEVER; 2]));
        let within = |from: u32, to: u32| {
            let times = visits.iter().filter(scanners).map(|visit| visit.at);
            times
                .filter(|at| (from * 1000..to * 1000).contains(at))
                .count()
        };
        assert!(within(540, 600) > 10 * within(300, 360));
    }

    #[test]
    fn a_seed_gives_the_same_again() {
        let times = |seed| -> Vec<(u32, u32)> {
            let visits = visits(Mix::Ids, SCALE, seed);
            visits
                .iter()
                .map(|visit| (visit.at, visit.client))
                .collect()
        };
        assert_eq!(times(1), times(1));
        assert_ne!(times(1), times(2));
    }
}
