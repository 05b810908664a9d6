//! A session is bound to the server name that it was made under, or to its absence (CVE-2025-23419).

use std::sync::{Arc, Mutex};

use refrain::{Connection, Session};

use super::common::{id, number};
use super::shop::{Shop, establish, key};

const NAMES: [Option<&str>; 4] = [
    None,
    Some("a.example"),
    Some("b.example"),
    Some("a.example."),
];

fn named(shop: &Shop, name: Option<&str>) -> Connection {
    let mut connection = shop.accept();
    connection.set_server_name(name);
    connection
}

#[test]
fn a_session_resumes_only_under_the_name_it_was_made_under() {
    let shop = Shop::new();
    for bound in NAMES {
        shop.cache().clear();
        let mut maker = named(&shop, bound);
        assert!(establish(&mut maker, 1));
        assert_eq!(maker.session().unwrap().server_name(), bound);
        maker.close();
        for asked in NAMES {
            let before = shop.cache().stats().wrong_name;
            let found = named(&shop, asked).resume(key(1)).is_some();
            assert_eq!(
                found,
                asked == bound,
                "made under {bound:?}, asked for {asked:?}"
            );
            let mut once = named(&shop, asked);
            let found = once.resume_once(key(1)).is_some();
            assert_eq!(
                found,
                asked == bound,
                "made under {bound:?}, asked for {asked:?}"
            );
            assert_eq!(once.session().is_some(), found);
            let refused = shop.cache().stats().wrong_name - before;
            assert_eq!(refused, if asked == bound { 0 } else { 2 });
        }
        // What was refused has harmed nobody.
        assert!(named(&shop, bound).resume(key(1)).is_some());
    }
}

#[test]
fn names_are_the_same_in_any_case_of_letters() {
    let shop = Shop::new();
    let mut maker = named(&shop, Some("A.Example"));
    assert!(establish(&mut maker, 1));
    maker.close();
    for asked in ["a.example", "A.EXAMPLE", "a.eXample"] {
        assert!(
            named(&shop, Some(asked)).resume(key(1)).is_some(),
            "{asked}"
        );
    }
    // A session whose name was written by somebody else.
    let session = Session::builder(&shop.rig.context, id(2)).server_name("B.example");
    assert!(shop.cache().add(session.build(b"").unwrap()).is_cached());
    assert!(named(&shop, Some("b.EXAMPLE")).resume(key(2)).is_some());
    // Letters are ASCII's: others differ.
    let mut maker = named(&shop, Some("\u{e9}.example"));
    assert!(establish(&mut maker, 3));
    maker.close();
    assert!(
        named(&shop, Some("\u{c9}.example"))
            .resume(key(3))
            .is_none()
    );
}

#[test]
fn the_callback_is_not_asked_for_what_was_found_under_another_name() {
    let shop = Shop::new();
    let mut maker = named(&shop, Some("a.example"));
    assert!(establish(&mut maker, 1));
    maker.close();
    let before = shop.cache().stats();
    let mut other = named(&shop, Some("b.example"));
    assert!(other.resume(key(1)).is_none());
    assert!(other.resume_once(key(1)).is_none());
    assert_eq!(shop.asked(), []);
    // It was of no use, which is to say a miss.
    let after = shop.cache().stats();
    assert_eq!((after.hits, after.misses - before.misses), (before.hits, 2));
}

#[test]
fn a_supplied_session_of_another_name_is_neither_used_nor_kept() {
    let shop = Shop::new();
    shop.supply_by(1, |lookup| {
        let builder = Session::builder(lookup.context, id(1)).server_name("a.example");
        builder.build(b"state").ok()
    });
    for other in [None, Some("b.example")] {
        assert!(named(&shop, other).resume(key(1)).is_none());
        assert!(named(&shop, other).resume_once(key(1)).is_none());
    }
    assert!(shop.cache().is_empty());
    assert_eq!(shop.cache().stats().wrong_name, 4);
    let mut right = named(&shop, Some("a.example"));
    assert_eq!(right.resume(key(1)).map(number), Some(1));
    assert!(shop.has(1));
}

#[test]
fn a_name_that_no_session_can_hold_is_an_error_of_the_session_and_a_miss() {
    let shop = Shop::new();
    shop.stock(1);
    let long = "a".repeat(256);
    let mut connection = named(&shop, Some(&long));
    assert!(connection.resume(key(1)).is_none());
    let built = connection.session_builder(id(2)).build(b"");
    assert_eq!(
        built.unwrap_err(),
        refrain::Error::ServerNameLength { len: 256 }
    );
}

#[test]
fn the_name_can_be_taken_back() {
    let shop = Shop::new();
    shop.stock(1);
    let mut connection = named(&shop, Some("a.example"));
    assert!(connection.resume(key(1)).is_none());
    connection.set_server_name(None);
    assert!(connection.resume(key(1)).is_some());
}

#[test]
fn an_empty_name_is_none() {
    let shop = Shop::new();
    for (n, made) in [(1, Some("")), (2, None)] {
        let mut maker = named(&shop, made);
        assert!(establish(&mut maker, n));
        assert_eq!(maker.session().unwrap().server_name(), None);
        maker.close();
        for (asked, expected) in [(None, true), (Some(""), true), (Some("a.example"), false)] {
            let found = named(&shop, asked).resume(key(n)).is_some();
            assert_eq!(found, expected, "made under {made:?}, asked for {asked:?}");
        }
    }
    // It takes back what there was.
    let mut connection = named(&shop, Some("a.example"));
    connection.set_server_name(Some(""));
    assert!(connection.resume(key(1)).is_some());
}

#[test]
fn the_callback_is_told_the_name_that_was_asked_for() {
    let shop = Shop::new();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    shop.supply_by(1, move |lookup| {
        log.lock()
            .unwrap()
            .push(lookup.server_name.map(str::to_owned));
        None
    });
    for asked in [None, Some("a.example"), Some("A.Example"), Some("")] {
        assert!(named(&shop, asked).resume(key(1)).is_none());
        assert!(named(&shop, asked).resume_once(key(1)).is_none());
    }
    let expected = [None, Some("a.example"), Some("a.example"), None];
    let expected = expected.map(|name| [name; 2]).concat();
    let seen = seen.lock().unwrap();
    assert!(seen.iter().map(Option::as_deref).eq(expected), "{seen:?}");
}
