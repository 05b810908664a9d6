//! The timer wheel beside the set of deadlines that it stands for: the model of its unit tests.

use arbitrary::{Result, Unstructured};
use refrain::inside::wheel::{Op, Trial};

const MOST: usize = 400;
/// As many ticks as the wheel may be turned through in one sequence, and in one of a few: more than it spans.
const TICKS: [u64; 2] = [30_000, 300_000];

pub(crate) fn run(data: &[u8]) {
    // Bytes that end too early end the sequence.
    let _ = sequence(&mut Unstructured::new(data));
}

fn sequence(u: &mut Unstructured<'_>) -> Result<()> {
    let buckets = *u.choose(&[1, 64, 65, 200])?;
    let tick = *u.choose(&[1, 7, 1000])?;
    // The clock's beginning, the edges of the rings, its last years, or any time.
    let start = match u.int_in_range(0..=3)? {
        0 => 0,
        1 => u64::from(u.arbitrary::<u32>()?) * tick,
        2 => (1 << 40) - tick * ticks(u)?,
        _ => ticks(u)? * tick,
    };
    crate::trace(&(buckets, tick, start));
    let mut trial = Trial::new(buckets, tick, start);
    let mut left = TICKS[usize::from(u.ratio(1, 16)?)];
    for _ in 0..MOST {
        let Ok(ops) = ops(u, buckets, tick, &mut left) else {
            break;
        };
        for op in ops {
            crate::trace(&op);
            trial.apply(op);
        }
    }
    // What the last operations have left is handed out too.
    trial.apply(Op::Pass(tick, 70));
    Ok(())
}

/// One operation, or a crowd that comes together and is due together.
fn ops(u: &mut Unstructured<'_>, buckets: usize, tick: u64, left: &mut u64) -> Result<Vec<Op>> {
    if u.is_empty() {
        return Err(arbitrary::Error::NotEnoughData);
    }
    Ok(vec![match u.int_in_range(0..=17)? {
        16.. => {
            let (first, life) = (bucket(u, buckets)?, life(u, tick)?);
            let last = buckets.min(first + u.int_in_range(2..=12)?);
            return Ok((first..last).map(|bucket| Op::Add(bucket, life)).collect());
        }
        0..=5 => Op::Add(bucket(u, buckets)?, life(u, tick)?),
        6 => Op::Postpone(bucket(u, buckets)?, life(u, tick)?),
        7 => Op::Leave(bucket(u, buckets)?),
        8 | 9 => Op::Wait(time(u, tick)?),
        10 | 11 => Op::Turn(budget(u)?),
        12 => Op::TurnLate(budget(u)?, time(u, tick)?),
        _ => {
            // In steps that the wheel turns through, or that are just too long for that.
            let step = *u.choose(&[1, 1, 63, 64, 65, 4096, 4097])?;
            let most = if u.ratio(1, 12)? { 70 } else { 4 };
            let times = u.int_in_range(1..=most)?.min(*left / step);
            *left -= times * step;
            Op::Pass(step * tick, times as usize)
        }
    }])
}

fn bucket(u: &mut Unstructured<'_>, buckets: usize) -> Result<usize> {
    u.int_in_range(0..=buckets - 1)
}

fn budget(u: &mut Unstructured<'_>) -> Result<usize> {
    Ok(match u.int_in_range(0..=2)? {
        0 => usize::MAX,
        1 => u.int_in_range(0..=12)?,
        _ => u.int_in_range(0..=200)?,
    })
}

/// Ticks at and around the edges of the rings, or far beyond the last.
fn ticks(u: &mut Unstructured<'_>) -> Result<u64> {
    let edges = [0, 0, 64, 128, 4032, 4096, 8192, 258_048, 262_144, 1 << 21];
    let off: u64 = u.int_in_range(0..=20)?;
    Ok((u.choose(&edges)? + off).saturating_sub(10))
}

fn time(u: &mut Unstructured<'_>, tick: u64) -> Result<u64> {
    Ok((ticks(u)? * tick + u.int_in_range(0..=2)?).saturating_sub(1))
}

fn life(u: &mut Unstructured<'_>, tick: u64) -> Result<u64> {
    Ok(match u.int_in_range(0..=7)? {
        0 => u64::MAX,
        1 => u.arbitrary::<u32>()?.into(),
        _ => time(u, tick)?,
    })
}
