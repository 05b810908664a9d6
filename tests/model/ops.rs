//! The operations, and how they are drawn.

use proptest::prelude::*;

pub(crate) const CONTEXTS: usize = 2;
/// Few ids, so that operations meet.
pub(crate) const IDS: u64 = 12;

#[derive(Clone, Debug)]
pub(crate) enum Op {
    /// Builds a session and adds it: context, id, timeout in units, authentication deadline in units, bytes.
    Add(usize, u64, Option<u64>, Option<u64>, usize),
    /// Builds one only, to be added or removed later.
    Build(usize, u64),
    /// Adds a session that was built at some time, whatever became of it.
    AddAgain(usize),
    With(usize, u64),
    Get(usize, u64),
    Contains(usize, u64),
    Take(usize, u64),
    Remove(usize, u64),
    TakeExact(usize),
    RemoveExact(usize),
    Advance(u64),
    SetBack(u64),
    Flush(u64),
    Retain(u64),
    Clear,
    Invalidate(usize),
    SetTimeout(u64),
    UpdateTime(bool),
    Resize(usize),
    Maintain,
}

pub(crate) fn op() -> impl Strategy<Value = Op> {
    let context = || 0..CONTEXTS;
    let number = || 0..IDS;
    let units = || prop_oneof![4 => 0..20u64, 1 => 0..20_000u64];
    prop_oneof![
        12 => (context(), number(), prop::option::of(units()), prop::option::weighted(0.2, units()), 0..300usize)
            .prop_map(|(c, n, t, a, len)| Op::Add(c, n, t, a, len)),
        1 => (context(), number()).prop_map(|(c, n)| Op::Build(c, n)),
        2 => (0..500usize).prop_map(Op::AddAgain),
        2 => (context(), number()).prop_map(|(c, n)| Op::With(c, n)),
        4 => (context(), number()).prop_map(|(c, n)| Op::Get(c, n)),
        1 => (context(), number()).prop_map(|(c, n)| Op::Contains(c, n)),
        4 => (context(), number()).prop_map(|(c, n)| Op::Take(c, n)),
        2 => (context(), number()).prop_map(|(c, n)| Op::Remove(c, n)),
        2 => (0..500usize).prop_map(Op::TakeExact),
        2 => (0..500usize).prop_map(Op::RemoveExact),
        4 => units().prop_map(Op::Advance),
        1 => units().prop_map(Op::SetBack),
        1 => units().prop_map(Op::Flush),
        1 => (1..4u64).prop_map(Op::Retain),
        1 => Just(Op::Clear),
        1 => context().prop_map(Op::Invalidate),
        1 => units().prop_map(Op::SetTimeout),
        1 => any::<bool>().prop_map(Op::UpdateTime),
        1 => (0..9usize).prop_map(Op::Resize),
        3 => Just(Op::Maintain),
    ]
}
