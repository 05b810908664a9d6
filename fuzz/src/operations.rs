//! Operations on a cache, against the reference model.

use arbitrary::{Result, Unstructured};

use crate::model::ops::{CONTEXTS, IDS, Op};
use crate::model::world::World;

/// So many that the clock stays short of its end, however it jumps.
const MOST: usize = 120;

pub(crate) fn run(data: &[u8]) {
    // Bytes that end too early end the sequence.
    let _ = sequence(&mut Unstructured::new(data));
}

fn sequence(u: &mut Unstructured<'_>) -> Result<()> {
    let roomy = u.arbitrary()?;
    let unit = *u.choose(&[1, 1000])?;
    let shards = *u.choose(&[1, 4])?;
    crate::trace(&(roomy, unit, shards));
    let mut world = World::new(roomy, unit, shards);
    for _ in 0..MOST {
        match op(u) {
            Ok(ops) => ops.iter().for_each(|op| {
                crate::trace(op);
                world.apply(op);
            }),
            Err(_) => break,
        }
    }
    world.finish();
    Ok(())
}

/// One operation, or a stretch of time in steps that the wheel turns through rather than jumps over.
fn op(u: &mut Unstructured<'_>) -> Result<Vec<Op>> {
    if u.is_empty() {
        return Err(arbitrary::Error::NotEnoughData);
    }
    let kind: u8 = u.int_in_range(0..=30)?;
    Ok(vec![match kind {
        0..=8 => Op::Add(
            context(u)?,
            number(u)?,
            some_units(u)?,
            rare_units(u)?,
            length(u)?,
        ),
        9 => Op::Build(context(u)?, number(u)?),
        10 => Op::AddAgain(u.int_in_range(0..=255)?),
        11 => Op::With(context(u)?, number(u)?),
        12 => Op::Get(context(u)?, number(u)?),
        13 => Op::Contains(context(u)?, number(u)?),
        14 | 15 => Op::Take(context(u)?, number(u)?),
        16 => Op::Remove(context(u)?, number(u)?),
        17 => Op::TakeExact(u.int_in_range(0..=255)?),
        18 => Op::RemoveExact(u.int_in_range(0..=255)?),
        19 | 20 => Op::Advance(units(u)?),
        21 => Op::SetBack(units(u)?),
        22 => Op::Flush(units(u)?),
        23 => Op::Retain(u.int_in_range(1..=3)?),
        24 => Op::Clear,
        25 => Op::Invalidate(context(u)?),
        26 => Op::SetTimeout(units(u)?),
        27 => Op::UpdateTime(u.arbitrary()?),
        28 => Op::Resize(u.int_in_range(0..=8)?),
        29 => Op::Maintain,
        _ => {
            let ticks = *u.choose(&[63, 64, 65, 500])?;
            // The coarsest of the wheel's rings turns only after very many steps, each of which takes its time.
            let (steps, ticks) = match u.ratio(1, 200)? {
                true => (66, 4095),
                false => (u.int_in_range(1..=8)?, ticks),
            };
            let step = |_| [Op::Advance(ticks), Op::Maintain];
            return Ok((0..steps).flat_map(step).collect());
        }
    }])
}

fn context(u: &mut Unstructured<'_>) -> Result<usize> {
    u.int_in_range(0..=CONTEXTS - 1)
}

fn number(u: &mut Unstructured<'_>) -> Result<u64> {
    u.int_in_range(0..=IDS - 1)
}

fn length(u: &mut Unstructured<'_>) -> Result<usize> {
    u.int_in_range(0..=299)
}

/// Ticks: within a level of the wheel, or at and around the edges of each of its levels, or far beyond the last.
fn units(u: &mut Unstructured<'_>) -> Result<u64> {
    let edge = *u.choose(&[0, 0, 0, 64, 64, 64 * 64, 64 * 64 * 64, 4_000_000])?;
    let off: u64 = u.int_in_range(0..=20)?;
    Ok((edge + off).saturating_sub(10))
}

fn some_units(u: &mut Unstructured<'_>) -> Result<Option<u64>> {
    u.ratio(1, 2)?.then(|| units(u)).transpose()
}

fn rare_units(u: &mut Unstructured<'_>) -> Result<Option<u64>> {
    u.ratio(1, 5)?.then(|| units(u)).transpose()
}
