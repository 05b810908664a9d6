use refrain::*;
use std::sync::{Arc, Mutex};
use std::time::Duration;
#[test]
fn smoke() {
    let log = Arc::new(Mutex::new(Vec::new()));
    let l2 = log.clone();
    let clock = ManualClock::new();
    let cache = SessionCache::builder()
        .capacity(3)
        .clock(clock.clone())
        .maintenance(Maintenance::Manual)
        .on_remove(move |s, c| l2.lock().unwrap().push((s.id().to_vec(), c)))
        .build()
        .unwrap();
    let ctx = cache.context(ContextId::derive("x", &[])).unwrap();
    let id = |n: u8| SessionId::new(&[n; 32]).unwrap();
    for n in 1..=3 {
        assert_eq!(
            cache.add(Session::new(&ctx, id(n), &[n; 100]).unwrap()),
            Added::Inserted
        );
    }
    assert_eq!(cache.len(), 3);
    assert!(cache.get(&ctx, &id(1)).is_some());
    assert_eq!(
        cache.add(Session::new(&ctx, id(4), &[4; 100]).unwrap()),
        Added::Inserted
    );
    assert_eq!(cache.len(), 3);
    assert!(cache.contains(&ctx, &id(1)));
    assert!(!cache.contains(&ctx, &id(2)));
    assert_eq!(
        cache.add(Session::new(&ctx, id(4), &[5; 300]).unwrap()),
        Added::Replaced
    );
    let t = cache.take(&ctx, &id(4)).unwrap();
    assert_eq!(t.payload(), &[5; 300]);
    assert!(cache.take(&ctx, &id(4)).is_none());
    cache.settle();
    assert_eq!(
        *log.lock().unwrap(),
        vec![
            (vec![2; 32], RemovalCause::Evicted),
            (vec![4; 32], RemovalCause::Taken)
        ]
    );
    clock.advance(Duration::from_secs(7200));
    let m = cache.run_maintenance();
    assert_eq!(m.expired, 2);
    let s = cache.stats();
    assert!(s.is_balanced(), "{s:?}");
    let h = cache.stats_handle();
    assert_eq!(
        cache.add(Session::new(&ctx, id(4), &[5; 300]).unwrap()),
        Added::Inserted
    );
    drop(cache);
    let s = h.snapshot();
    assert!(s.is_balanced(), "{s:?}");
    assert_eq!(s.callbacks, s.callbacks_due());
    assert_eq!(s.backlog_bytes, 0);
    assert_eq!(s.dropped, 1);
}
#[test]
fn threads() {
    let cache = SessionCache::builder()
        .capacity(1000)
        .tick(Duration::from_millis(10))
        .timeout(Duration::from_millis(300))
        .on_remove(|_, _| {})
        .build()
        .unwrap();
    let ctx = cache.context(ContextId::derive("x", &[])).unwrap();
    std::thread::scope(|sc| {
        for t in 0..4u64 {
            let (cache, ctx) = (&cache, &ctx);
            sc.spawn(move || {
                let mut x = t + 1;
                for i in 0..200_000u64 {
                    x ^= x << 13;
                    x ^= x >> 7;
                    x ^= x << 17;
                    let mut b = [0; 32];
                    b[..8].copy_from_slice(&(x % 3000).to_le_bytes());
                    let id = SessionId::new(&b).unwrap();
                    match i % 4 {
                        0 => {
                            let _ = cache.add(Session::new(ctx, id, &[1; 200]).unwrap());
                        }
                        1 => {
                            cache.take(ctx, &id);
                        }
                        2 => {
                            cache.get(ctx, &id);
                        }
                        _ => {
                            cache.with(ctx, &id, |s| s.payload()[0]);
                        }
                    }
                    assert!(cache.len() <= 1000);
                }
            });
        }
    });
    cache.settle();
    let s = cache.stats();
    println!("{s:#?}");
    assert!(s.is_balanced());
    assert_eq!(s.callbacks, s.callbacks_due());
    let h = cache.stats_handle();
    drop(cache);
    let s = h.snapshot();
    assert!(s.is_balanced());
    assert_eq!(s.callbacks, s.callbacks_due());
    assert_eq!((s.entries, s.backlog_bytes), (0, 0));
}
