//! What a builder makes of what it is told, and what it refuses.

use super::*;

fn plan(change: impl FnOnce(Builder) -> Builder) -> Result<Plan, Error> {
    change(Builder::new()).plan()
}

#[test]
fn what_nobody_has_chosen() {
    let plan = plan(|b| b).unwrap();
    assert_eq!(DEFAULT_CAPACITY, 20_480);
    assert_eq!(plan.max_capacity, 20_480);
    assert_eq!(plan.limit, Permit::new(20_480, 20_480 * 64));
    assert_eq!(plan.backlog, 20_480 * 16);
    assert_eq!(plan.max_session, 65_536);
    assert_eq!((plan.tick, plan.max_contexts), (1000, 256));
    assert!(plan.shards.is_power_of_two());
    assert_eq!(plan.buckets, None);
}

#[test]
fn capacities() {
    let limit = |capacity: usize, max: Option<usize>| {
        let plan = plan(|b| match max {
            Some(max) => b.capacity(capacity).max_capacity(max),
            None => b.capacity(capacity),
        })?;
        Ok((plan.limit.entries(), plan.max_capacity))
    };
    let refused = |asked, max| Err(Error::Capacity { asked, max });
    assert_eq!(limit(1, None), Ok((1, 1)));
    assert_eq!(
        limit(MAX_ENTRIES, None),
        Ok((MAX_ENTRIES as u64, MAX_ENTRIES))
    );
    assert_eq!(
        limit(MAX_ENTRIES + 1, None),
        refused(MAX_ENTRIES + 1, MAX_ENTRIES)
    );
    assert_eq!(limit(0, None), refused(0, MAX_ENTRIES));
    assert_eq!(limit(0, Some(9)), Ok((9, 9)));
    assert_eq!(limit(8, Some(9)), Ok((8, 9)));
    assert_eq!(limit(9, Some(9)), Ok((9, 9)));
    assert_eq!(limit(10, Some(9)), refused(10, 9));
}

#[test]
fn byte_budgets() {
    let units = |bytes| plan(|b| b.byte_budget(bytes)).map(|plan| plan.limit.units());
    assert_eq!(units(64), Ok(1));
    assert_eq!(units(64 * 7 + 63), Ok(7));
    assert_eq!(units(MAX_BYTES), Ok((1 << 36) - 1));
    for asked in [0, 63, MAX_BYTES + 1] {
        let (min, max) = (64, MAX_BYTES);
        assert_eq!(units(asked), Err(Error::ByteBudget { asked, min, max }));
    }
}

#[test]
fn backlogs_and_the_largest_session() {
    let backlog = |bytes| plan(|b| b.backlog(bytes)).unwrap().backlog;
    // A MiB at least.
    assert_eq!(backlog(0), 16_384);
    assert_eq!(backlog((1 << 20) + 64), 16_385);
    assert_eq!(backlog(usize::MAX), (1 << 36) - 1);
    let quarter = plan(|b| b.byte_budget(8 << 20)).unwrap().backlog;
    assert_eq!(quarter, (2 << 20) / 64);

    let largest = |bytes| plan(|b| b.max_session_bytes(bytes)).unwrap().max_session;
    assert_eq!(largest(77), 77);
    assert_eq!(largest(usize::MAX), MAX_PAYLOAD);
}

#[test]
fn shards() {
    let shards = |n| plan(|b| b.shards(n)).map(|plan| plan.shards);
    let made: Result<Vec<_>, _> = [1, 2, 3, 1023, 1024].into_iter().map(shards).collect();
    assert_eq!(made, Ok(vec![1, 2, 4, 1024, 1024]));
    for asked in [0, 1025] {
        assert_eq!(shards(asked), Err(Error::Shards { asked, max: 1024 }));
    }
    // None has less than 1024 entries.
    let by_capacity = [1, 1024, 2047, 2048, 4096, 1 << 28].map(|n| default_shards(n, 8));
    assert_eq!(by_capacity, [1, 1, 1, 2, 4, 32]);
    let by_cores = [1, 2, 3, 8, 1000].map(|cores| default_shards(1 << 28, cores));
    assert_eq!(by_cores, [4, 8, 16, 32, 1024]);
}

#[test]
fn ticks_and_contexts() {
    let tick = |tick| plan(|b| b.tick(tick)).map(|plan| plan.tick);
    let (min, max) = (Duration::from_millis(1), Duration::from_secs(3600));
    assert_eq!((tick(min), tick(max)), (Ok(1), Ok(3_600_000)));
    for asked in [Duration::from_micros(999), max + Duration::from_nanos(1)] {
        assert_eq!(tick(asked), Err(Error::Tick { asked, min, max }));
    }
    let contexts = |n| plan(|b| b.max_contexts(n)).map(|plan| plan.max_contexts);
    assert_eq!((contexts(1), contexts(65_536)), (Ok(1), Ok(65_536)));
    for asked in [0, 65_537] {
        assert_eq!(
            contexts(asked),
            Err(Error::ContextLimit { asked, max: 65_536 })
        );
    }
}

#[test]
fn a_mode_is_a_set_of_openssls_flags() {
    let both = CacheMode::CLIENT | CacheMode::SERVER;
    assert_eq!(both, CacheMode::BOTH);
    assert_eq!(both | CacheMode::SERVER, both);
    assert!(both.contains(CacheMode::CLIENT) && both.contains(CacheMode::OFF));
    assert!(!CacheMode::CLIENT.contains(both));
    let internal = CacheMode::NO_INTERNAL_LOOKUP | CacheMode::NO_INTERNAL_STORE;
    assert_eq!(internal, CacheMode::NO_INTERNAL);
    let all = both | internal | CacheMode::NO_AUTO_CLEAR | CacheMode::UPDATE_TIME;
    assert_eq!(all.bits(), 0x783);
    assert_eq!(CacheMode::from_bits(u32::MAX), all);
    assert_eq!(
        CacheMode::from_bits(0x102),
        CacheMode::SERVER | CacheMode::NO_INTERNAL_LOOKUP
    );
    assert_eq!(format!("{:?}", CacheMode::OFF), "OFF");
    assert_eq!(format!("{:?}", CacheMode::SERVER), "SERVER");
    let names =
        "CLIENT | SERVER | NO_AUTO_CLEAR | NO_INTERNAL_LOOKUP | NO_INTERNAL_STORE | UPDATE_TIME";
    assert_eq!(format!("{all:?}"), names);
}
