//! Honest clients on many threads, and attackers on others at the same time.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use super::answer::Answer;
use super::common::{Random, watchdog};
use super::hello::Hello;
use super::site::Site;
use super::stack::{Client, Stack, VERSIONS, Version};

on_each_stack!(honest_clients_resume_while_others_attack);

const HONEST: usize = 4;
const VISITS: usize = 25;

fn honest_clients_resume_while_others_attack(stack: Stack) {
    let _watchdog = watchdog();
    let site = Site::new(stack);
    let reusable = site.regular(Version::Tls12);
    let mut stolen = Vec::new();
    assert!(site.visit_past(&*reusable, |id| stolen = id.to_vec()));
    let (stop, attacks) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        for seed in 0..2 {
            let (site, stop, attacks, stolen) = (&site, &stop, &attacks, &stolen);
            scope.spawn(move || {
                let mut random = Random::new(seed);
                while !stop.load(Ordering::Relaxed) {
                    harass(site, &mut random, stolen);
                    attacks.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let honest = [(); HONEST].map(|()| {
            let clients = VERSIONS.map(|version| site.regular(version));
            let (site, attacks) = (&site, &attacks);
            scope.spawn(move || {
                // Each visit but the first is during the attacks.
                while attacks.load(Ordering::Relaxed) == 0 {
                    thread::yield_now();
                }
                let resumed = |client: &dyn Client| usize::from(site.visit(client));
                (0..VISITS)
                    .map(|_| clients.iter().map(|c| resumed(&**c)).sum::<usize>())
                    .sum::<usize>()
            })
        });
        let resumed = honest.map(|thread| thread.join());
        stop.store(true, Ordering::Relaxed);
        for resumed in resumed {
            assert_eq!(resumed.unwrap(), 2 * VISITS);
        }
    });
    assert!(site.visit(&*reusable));
    let cache = &site.rig.cache;
    cache.settle();
    super::common::assert_settled(&cache.stats());
    assert!(
        site.log()
            .all()
            .iter()
            .all(|(_, cause)| *cause == refrain::RemovalCause::Taken)
    );
}

/// One attack of any kind, on no session but the one that was stolen.
fn harass(site: &Site, random: &mut Random, stolen: &[u8]) {
    let kind = random.below(6);
    let mut noise =
        |length: usize| -> Vec<u8> { (0..length).map(|_| random.next() as u8).collect() };
    let hello = match kind {
        0 => {
            let ids = std::iter::repeat_with(|| noise(32));
            Hello::tls13().many_keys(ids, 32).0
        }
        1 => Hello::tls12().session_id(&noise(32)),
        2 => Hello::tls13().keys(&[stolen], 1, 32),
        3 => Hello::tls12()
            .session_id(stolen)
            .server_name(b"other.example"),
        4 => Hello::tls12().session_id(stolen).nameless(),
        _ => Hello::tls12().session_id(stolen),
    };
    // The last is all that its owner's hello is, as far as anybody can see before the client's Finished.
    let expected = if kind == 5 {
        Answer::Resumed
    } else {
        Answer::Full
    };
    assert_eq!(site.attack(&hello), expected);
}
