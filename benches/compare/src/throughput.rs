//! How much each rival does in a second.

use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use crate::args::Options;
use crate::cache::Setup;
use crate::contest::{Contestant, Courses, changing, footprint, looking};
use crate::figures::{Summary, ratio};
use crate::pool::{Pool, Slice};
use crate::progress::Progress;
use crate::stop;
use crate::workload::{Action, Line, Workload};

/// The one that all others are compared with.
pub(crate) const REFERENCE: &str = "refrain";

const SHORTEST_SLICE: Duration = Duration::from_millis(40);
const LONGEST_SLICE: Duration = Duration::from_millis(250);
/// Where something is written: what it takes to wait for the end of what was left behind is not to count.
const SHORTEST_WRITING: Duration = Duration::from_millis(200);
const LONGEST_WRITING: Duration = Duration::from_millis(500);
const FEWEST_ROUNDS: usize = 3;
/// Not measured: caches and branch predictors find their way.
const WARM_UP: Duration = Duration::from_millis(20);

/// One rival's figures of one workload on so many threads.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    /// In the workload's unit, a second.
    pub(crate) rate: Summary,
    /// How many times Refrain's.
    pub(crate) ratio: Option<f64>,
    /// Nanoseconds of processor time for one, of all the process's threads.
    pub(crate) cpu: Option<f64>,
    /// The part of the look-ups that found something.
    pub(crate) hits: Option<f64>,
    /// The part of the adds that were refused.
    pub(crate) refused: Option<f64>,
    /// The part of the time in which only what was left behind was finished.
    pub(crate) settling: f64,
    pub(crate) rounds: usize,
}

/// One rival in one table.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// Whether the threads had to remove what is too much.
    pub(crate) helped: bool,
    /// For each number of threads: figures, or why there are none.
    pub(crate) cells: Vec<Result<Cell, String>>,
}

/// One table.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) workload: Workload,
    pub(crate) payload: usize,
    pub(crate) threads: Vec<usize>,
    pub(crate) rows: Vec<Row>,
}

/// What a run yields.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) tables: Vec<Table>,
    pub(crate) faults: Vec<String>,
    pub(crate) interrupted: bool,
}

/// Measures everything that is asked for. `shown` gets each table when it is complete.
pub(crate) fn run(options: &Options, shown: impl FnMut(&Table)) -> Result<Outcome, String> {
    let most = options.threads.iter().copied().max().unwrap_or(1);
    let pool = Pool::new(most).map_err(|error| format!("no threads: {error}"))?;
    let cases = options.workloads.len() * options.payloads.len();
    let steps = cases * options.threads.len() * options.rivals.len();
    let mut run = Run {
        options,
        pool,
        most,
        cores: available_parallelism().map_or(1, usize::from),
        progress: Progress::start(steps as u64),
        outcome: Outcome::default(),
        shown,
    };
    for payload in options.payloads.clone() {
        run.payload(payload)?;
    }
    run.outcome.interrupted = stop::is_asked();
    Ok(run.outcome)
}

struct Run<'a, F> {
    options: &'a Options,
    pool: Pool,
    most: usize,
    cores: usize,
    progress: Progress,
    outcome: Outcome,
    shown: F,
}

impl<F: FnMut(&Table)> Run<'_, F> {
    fn payload(&mut self, payload: usize) -> Result<(), String> {
        let workloads = &self.options.workloads;
        // Look-ups of as many ids share the caches that were filled once.
        let mut lives: Vec<usize> = Vec::new();
        for workload in workloads {
            if !workload.action.writes() && !lives.contains(&workload.live) {
                lives.push(workload.live);
            }
        }
        for live in lives {
            let these: Vec<Workload> = workloads
                .iter()
                .filter(|w| !w.action.writes() && w.live == live)
                .copied()
                .collect();
            self.looks(&these, live, payload)?;
        }
        for workload in workloads.iter().filter(|w| w.action.writes()) {
            let mut table = self.table(workload, payload);
            self.changes(&mut table)?;
            self.complete(table);
        }
        Ok(())
    }

    fn table(&self, workload: &Workload, payload: usize) -> Table {
        Table {
            workload: *workload,
            payload,
            threads: self.options.threads.clone(),
            rows: Vec::new(),
        }
    }

    fn complete(&mut self, mut table: Table) {
        let place = |name| self.options.rivals.iter().position(|rival| *rival == name);
        table.rows.sort_by_key(|row| place(row.name));
        if !table.rows.is_empty() {
            let shown = &mut self.shown;
            self.progress.print(|| shown(&table));
            self.outcome.tables.push(table);
        }
    }

    /// Look-ups, in groups of rivals that fit into memory side by side. Refrain is in each.
    fn looks(&mut self, workloads: &[Workload], live: usize, payload: usize) -> Result<(), String> {
        let courses = Courses::new(live, self.options.seed);
        let mut tables: Vec<Table> = workloads.iter().map(|w| self.table(w, payload)).collect();
        let mut parts: Vec<(usize, Table)> = Vec::new();
        for group in groups(&self.options.rivals, live, payload, self.options.memory) {
            if stop::is_asked() {
                break;
            }
            self.progress.begin(format_args!(
                "filling {} with {live} sessions of {payload} bytes",
                group.join(", ")
            ));
            let contestants = group
                .iter()
                .map(|name| looking(name, &courses, payload, self.most, self.options.memory / 4))
                .collect::<Result<Vec<_>, _>>()?;
            for (n, workload) in workloads.iter().enumerate() {
                let mut part = self.table(workload, payload);
                for threads in self.options.threads.clone() {
                    let entrants = contestants.iter().map(|c| (c.name(), Ok(Arc::clone(c))));
                    self.measure(&mut part, threads, entrants.collect())?;
                }
                parts.push((n, part));
            }
        }
        for (n, part) in parts {
            for row in part.rows {
                // Refrain's figures of the first group; each ratio is to those of the rival's own group.
                if tables[n].rows.iter().all(|known| known.name != row.name) {
                    tables[n].rows.push(row);
                }
            }
        }
        tables.into_iter().for_each(|table| self.complete(table));
        Ok(())
    }

    fn changes(&mut self, table: &mut Table) -> Result<(), String> {
        let action = table.workload.action;
        for threads in self.options.threads.clone() {
            if stop::is_asked() {
                break;
            }
            let mut setup = Setup::new(table.workload.live, table.payload, threads);
            setup.listener = Some(Duration::ZERO);
            let entrants = self
                .options
                .rivals
                .iter()
                .map(|name| {
                    (
                        *name,
                        changing(name, action, setup.clone(), self.options.seed),
                    )
                })
                .collect();
            self.measure(table, threads, entrants)?;
        }
        Ok(())
    }

    /// One workload on so many threads: rounds of slices, one for each rival, each round beginning with another.
    fn measure(
        &mut self,
        table: &mut Table,
        threads: usize,
        entrants: Vec<Entrant>,
    ) -> Result<(), String> {
        let action = table.workload.action;
        if stop::is_asked() {
            return Ok(());
        }
        self.progress.begin(format_args!(
            "{}, {} bytes, {threads} {}",
            table.workload.name,
            table.payload,
            if threads == 1 { "thread" } else { "threads" }
        ));
        let mut results = Vec::new();
        let mut running = Vec::new();
        for (name, entrant) in entrants {
            let entrant = entrant.and_then(|contestant| match contestant.lacks(action, threads) {
                Some(why) => Err(why),
                None => Ok(contestant),
            });
            match entrant {
                Ok(contestant) => running.push((contestant, Vec::new())),
                Err(why) => results.push((name, false, Err(why.to_owned()))),
            }
        }
        self.rounds(action, threads, &mut running)?;
        let rates = |slices: &[Slice]| slices.iter().map(Slice::rate).collect::<Vec<_>>();
        let reference = running
            .iter()
            .find(|(contestant, _)| contestant.name() == REFERENCE)
            .map(|(_, slices)| rates(slices));
        for (contestant, slices) in &running {
            let name = contestant.name();
            let ratio = reference
                .as_ref()
                .and_then(|reference| ratio(&rates(slices), reference));
            let cell = match Summary::of(&rates(slices)) {
                Some(rate) => Ok(cell(rate, ratio, slices)),
                None => Err("interrupted".to_owned()),
            };
            if let (Action::Look(line, _), Ok(cell)) = (action, &cell) {
                let wanted = if line == Line::Absent { 0.0 } else { 1.0 };
                if cell.hits != Some(wanted) {
                    let workload = table.workload.name;
                    let fault = format!("{workload}: {name} found {:?} of all", cell.hits);
                    self.outcome.faults.push(fault);
                }
            }
            results.push((name, contestant.is_helped(action), cell));
        }
        for (name, helped, cell) in results {
            let known = table.rows.iter().position(|row| row.name == name);
            let n = known.unwrap_or_else(|| {
                table.rows.push(Row {
                    name,
                    helped: false,
                    cells: Vec::new(),
                });
                table.rows.len() - 1
            });
            table.rows[n].helped |= helped;
            table.rows[n].cells.push(cell);
            self.progress.step(1);
        }
        Ok(())
    }

    fn rounds(
        &self,
        action: Action,
        threads: usize,
        running: &mut [(Arc<dyn Contestant>, Vec<Slice>)],
    ) -> Result<(), String> {
        let seconds = Duration::from_secs_f64(self.options.seconds);
        let mut length = match action.writes() {
            true => (seconds / 5).clamp(SHORTEST_WRITING, LONGEST_WRITING),
            false => (seconds / 8).clamp(SHORTEST_SLICE, LONGEST_SLICE),
        };
        if threads > self.cores {
            // Every thread gets its turn in each slice.
            length *= 2;
        }
        let rounds = (seconds.as_secs_f64() / length.as_secs_f64()).ceil() as usize;
        for (contestant, _) in running.iter() {
            self.pool.slice(contestant, threads, action, WARM_UP)?;
        }
        for round in 0..rounds.max(FEWEST_ROUNDS) {
            for n in 0..running.len() {
                if stop::is_asked() {
                    return Ok(());
                }
                let (contestant, slices) = &mut running[(n + round) % running.len()];
                slices.push(self.pool.slice(contestant, threads, action, length)?);
            }
        }
        Ok(())
    }
}

/// A rival that takes part, or why it doesn't.
type Entrant = (&'static str, Result<Arc<dyn Contestant>, &'static str>);

fn cell(rate: Summary, ratio: Option<f64>, slices: &[Slice]) -> Cell {
    let sum = |of: fn(&Slice) -> u64| slices.iter().map(of).sum::<u64>() as f64;
    let part = |some: f64, all: f64| (all > 0.0).then(|| some / all);
    let operations = sum(|slice| slice.tally.operations);
    let cpu: Option<Duration> = slices.iter().map(|slice| slice.cpu).sum();
    let adds = sum(|slice| slice.tally.adds);
    Cell {
        rate,
        ratio,
        cpu: cpu.and_then(|cpu| part(cpu.as_nanos() as f64, operations)),
        hits: part(
            sum(|slice| slice.tally.hits),
            sum(|slice| slice.tally.lookups),
        ),
        refused: part(adds - sum(|slice| slice.tally.kept), adds),
        settling: slices.iter().map(Slice::settling).sum::<f64>() / slices.len().max(1) as f64,
        rounds: slices.len(),
    }
}

/// Rivals that fit into memory together; the reference is in each group, at its beginning.
fn groups(
    rivals: &[&'static str],
    live: usize,
    payload: usize,
    memory: usize,
) -> Vec<Vec<&'static str>> {
    // A private map for each thread may take a quarter.
    let each = live * footprint(payload);
    let room = (memory * 3 / 4 / each).max(2);
    let others: Vec<&str> = rivals
        .iter()
        .copied()
        .filter(|name| *name != REFERENCE)
        .collect();
    if others.is_empty() {
        return vec![vec![REFERENCE]];
    }
    let count = others.len().div_ceil(room - 1);
    others
        .chunks(others.len().div_ceil(count))
        .map(|chunk| [&[REFERENCE], chunk].concat())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_fit_and_hold_everybody_beside_the_reference() {
        let rivals = [REFERENCE, "a", "b", "c", "d", "e"];
        assert_eq!(groups(&rivals, 1000, 256, 1 << 30), [rivals.to_vec()]);
        // Room for three.
        let memory = 4 * 1000 * footprint(256);
        assert_eq!(
            groups(&rivals, 1000, 256, memory),
            [
                vec![REFERENCE, "a", "b"],
                vec![REFERENCE, "c", "d"],
                vec![REFERENCE, "e"],
            ]
        );
        // However little there is, it is two at least.
        assert_eq!(groups(&rivals, 1_000_000, 256, 1).len(), 5);
        assert_eq!(groups(&[REFERENCE], 1, 1, 1), [[REFERENCE]]);
    }
}
