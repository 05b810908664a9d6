//! Sessions that work once: found by all, claimed by one.

use std::sync::Barrier;
use std::thread;

use refrain::{RemovalCause, SessionCache};

use super::common::{context, id, number, secs, session, watchdog};
use super::shop::{Shop, establish, key};

#[test]
fn a_session_is_there_until_it_is_claimed_and_never_again() {
    let shop = Shop::new();
    shop.stock(1);
    let mut first = shop.accept();
    assert_eq!(first.resume_once(key(1)).map(number), Some(1));
    assert!(!first.reused(), "nothing was proved yet");
    assert!(shop.has(1));
    assert!(first.claim());
    assert!(first.reused());
    assert_eq!(first.session().map(number), Some(1));
    assert!(!shop.has(1));
    assert_eq!(shop.gone(), [(1, RemovalCause::Taken)]);
    assert!(shop.accept().resume_once(key(1)).is_none());
    // Asked again, it has still won.
    assert!(first.claim() && first.reused());
    first.finish();
    first.close();
    drop(first);
    assert_eq!(shop.gone(), []);
    assert_eq!(shop.cache().stats().taken, 1);
}

#[test]
fn of_many_that_found_it_one_claims_it_and_the_others_have_nothing() {
    let shop = Shop::new();
    shop.stock(1);
    let mut connections = [(); 3].map(|()| shop.accept());
    for connection in &mut connections {
        assert!(connection.resume_once(key(1)).is_some());
    }
    let [one, two, three] = &mut connections;
    assert!(two.claim());
    for loser in [one, three] {
        assert!(!loser.claim());
        assert!(loser.session().is_none() && !loser.reused());
        assert!(!loser.claim(), "and has nothing left to claim");
        // It goes on with a full handshake.
        loser.finish();
    }
    assert_eq!(shop.gone(), [(1, RemovalCause::Taken)]);
}

#[test]
fn one_of_eight_threads_claims_each_session() {
    let _watchdog = watchdog();
    let cache = SessionCache::builder().capacity(1000).build().unwrap();
    let context = context(&cache, "threads");
    let start = Barrier::new(8);
    let rounds = 300;
    for n in 0..rounds {
        assert!(cache.add(session(&context, n)).is_cached());
    }
    let won: u64 = thread::scope(|scope| {
        let threads = [(); 8].map(|()| {
            scope.spawn(|| {
                let claim = |n| {
                    let mut connection = cache.accept(&context);
                    let found = connection.resume_once(key(n)).is_some();
                    start.wait();
                    let won = connection.claim();
                    assert_eq!(connection.reused(), won);
                    assert!(found || !won);
                    connection.close();
                    u64::from(won)
                };
                (0..rounds).map(claim).sum::<u64>()
            })
        });
        threads.map(|thread| thread.join().unwrap()).iter().sum()
    });
    assert_eq!(won, rounds);
    cache.settle();
    let stats = cache.stats();
    assert_eq!((stats.taken, stats.entries), (rounds, 0));
    assert!(stats.is_balanced());
}

#[test]
fn without_a_session_there_is_nothing_to_claim() {
    let shop = Shop::new();
    shop.stock(1);
    let mut connection = shop.accept();
    assert!(!connection.claim());
    assert!(connection.resume_once(key(2)).is_none());
    assert!(!connection.claim());
    assert!(connection.resume_once(key(1)).is_some());
    connection.decline();
    assert!(!connection.claim());
    assert!(shop.has(1));
    // What it has established itself is nothing that a client has offered.
    assert!(establish(&mut connection, 3));
    assert!(!connection.claim());
    assert!(shop.has(3));
    connection.close();
}

#[test]
fn what_has_left_meanwhile_can_not_be_claimed() {
    type End = (&'static str, fn(&Shop));
    let ends: [End; 6] = [
        ("removed", |shop| assert!(shop.rig.remove(1))),
        ("taken", |shop| assert!(shop.rig.take(1).is_some())),
        ("expired", |shop| shop.rig.advance(secs(100_000))),
        ("cleared", |shop| assert_eq!(shop.cache().clear(), 1)),
        ("replaced", |shop| shop.stock(1)),
        ("invalidated", |shop| {
            shop.cache().invalidate_context(&shop.rig.context).unwrap();
        }),
    ];
    for (what, end) in ends {
        let shop = Shop::new();
        shop.stock(1);
        let mut connection = shop.accept();
        assert!(connection.resume_once(key(1)).is_some());
        end(&shop);
        assert!(!connection.claim(), "{what}");
        assert!(
            connection.session().is_none() && !connection.reused(),
            "{what}"
        );
    }
}

#[test]
fn a_handshake_that_finishes_without_a_claim_has_resumed_nothing() {
    let shop = Shop::new();
    shop.stock(1);
    let mut connection = shop.accept();
    assert!(connection.resume_once(key(1)).is_some());
    connection.finish();
    assert!(!connection.reused() && connection.session().is_none());
    drop(connection);
    assert!(shop.has(1));
    assert_eq!(shop.gone(), []);
}

#[test]
fn the_callback_is_told_of_single_use_and_what_it_hands_out_is_not_kept() {
    let shop = Shop::new();
    shop.supply(1);
    let mut connection = shop.accept();
    assert_eq!(connection.resume_once(key(1)).map(number), Some(1));
    assert_eq!(shop.asked(), [(id(1), true)]);
    assert!(shop.cache().is_empty());
    assert!(!connection.reused());
    // The external store has handed it out; there is nobody to lose against.
    assert!(connection.claim() && connection.reused());
    connection.finish();
    connection.close();
    drop(connection);
    assert!(shop.cache().is_empty());
    assert_eq!(shop.gone(), []);
}

#[test]
fn what_the_callback_found_in_this_very_cache_has_one_winner_too() {
    let shop = Shop::new();
    shop.cache()
        .set_mode(refrain::CacheMode::SERVER | refrain::CacheMode::NO_INTERNAL_LOOKUP);
    shop.stock(1);
    let (cache, context) = (shop.cache().clone(), shop.rig.context.clone());
    shop.supply_by(1, move |lookup| cache.get(&context, lookup.id));
    let mut connections = [(); 2].map(|()| shop.accept());
    for connection in &mut connections {
        assert_eq!(connection.resume_once(key(1)).map(number), Some(1));
    }
    let [one, two] = &mut connections;
    assert!(one.claim());
    assert!(!two.claim());
    assert_eq!(shop.gone(), [(1, RemovalCause::Taken)]);
}

#[test]
fn a_reusable_session_can_be_claimed_as_well() {
    let shop = Shop::new();
    shop.stock(1);
    let mut connections = [(); 2].map(|()| shop.accept());
    for connection in &mut connections {
        assert!(connection.resume(key(1)).is_some() && connection.reused());
    }
    let [one, two] = &mut connections;
    assert!(one.claim() && one.reused());
    assert!(!two.claim() && !two.reused());
    assert!(!shop.has(1));
    assert_eq!(shop.gone(), [(1, RemovalCause::Taken)]);
}

#[test]
fn who_merely_knows_an_id_can_not_burn_it() {
    let shop = Shop::new();
    shop.stock(1);
    let ends: [fn(&mut refrain::Connection); 4] = [
        |_| (),
        |connection| connection.fail(),
        |connection| connection.decline(),
        |connection| connection.finish(),
    ];
    for end in ends {
        let mut hostile = shop.accept();
        assert!(hostile.resume_once(key(1)).is_some());
        end(&mut hostile);
        drop(hostile);
        assert!(shop.has(1));
    }
    assert_eq!(shop.gone(), []);
    let mut owner = shop.accept();
    assert!(owner.resume_once(key(1)).is_some() && owner.claim());
}
