//! Hellos that are cut off, that lie about their lengths, or whose parts are noise.

use super::answer::Answer;
use super::common::Random;
use super::hello::{Hello, framed, host, kind, vector8, vector16};
use super::site::Site;
use super::stack::{Client, Stack, VERSIONS, Version};

on_each_stack!(
    a_hello_cut_off_anywhere_resumes_nothing,
    an_extension_of_noise_resumes_nothing,
    a_strange_server_name_resumes_nothing,
    keys_that_lie_about_their_lengths_resume_nothing,
    flipped_bits_break_nothing,
    bytes_that_are_no_tls_break_nothing,
);

/// A site with a regular of each version.
fn site(stack: Stack) -> (Site, [Box<dyn Client>; 2]) {
    let site = Site::new(stack);
    let clients = VERSIONS.map(|version| site.regular(version));
    (site, clients)
}

fn assert_unharmed(site: &Site, clients: &[Box<dyn Client>]) {
    for client in clients {
        assert!(site.visit(&**client));
    }
}

/// Sends records, asserts that they have changed nothing, and returns the answer.
fn send(site: &Site, records: &[u8]) -> Vec<u8> {
    let (answer, cost) = site.cost(|| site.server.accept().feed(records));
    assert_eq!(cost.changes, 0);
    assert!(cost.gets <= u64::from(super::site::EXTERNAL));
    answer
}

fn a_hello_cut_off_anywhere_resumes_nothing(stack: Stack) {
    let (site, clients) = site(stack);
    let hellos = [
        Hello::tls12().session_id(&[7; 32]),
        Hello::tls13().keys(&[[7; 32]; 3], 3, 32),
    ];
    for hello in hellos {
        let (body, records) = (hello.body(), hello.records());
        for length in 0..body.len() {
            // A message that ends early, and a record that never ends.
            let answer = Answer::read(&send(&site, &framed(&body[..length])), &[7; 32]);
            assert_ne!(answer, Answer::Resumed, "{length} bytes");
            let nothing = send(&site, &records[..length]);
            assert_eq!(
                Answer::read(&nothing, &[]),
                Answer::Nothing,
                "{length} bytes"
            );
        }
    }
    assert_unharmed(&site, &clients);
}

fn an_extension_of_noise_resumes_nothing(stack: Stack) {
    let (site, clients) = site(stack);
    let mut random = Random::new(3);
    for version in VERSIONS {
        let plain = Hello::of(version)
            .extension(kind::SESSION_TICKET, vec![5; 40])
            .session_id(&[7; 32]);
        for kind in plain.kinds() {
            for length in [0, 1, 2, 3, 5, 17, 300] {
                let mut hello = plain.clone();
                hello.set(kind, (0..length).map(|_| random.next() as u8).collect());
                let answer = Answer::read(&send(&site, &hello.records()), &[7; 32]);
                assert_ne!(answer, Answer::Resumed, "extension {kind}, {length} bytes");
            }
        }
        // The same extension twice.
        for kind in plain.kinds() {
            let hello = plain.clone().extension(kind, vec![0; 4]);
            let answer = Answer::read(&send(&site, &hello.records()), &[7; 32]);
            assert_ne!(answer, Answer::Resumed, "extension {kind} twice");
        }
    }
    assert_unharmed(&site, &clients);
}

fn a_strange_server_name_resumes_nothing(stack: Stack) {
    let (site, clients) = site(stack);
    let entry = |kind: u8, name: &[u8]| [&[kind][..], &vector16(name)].concat();
    let long = b"a.".repeat(130);
    let bodies = [
        Vec::new(),
        vector16(&[]),
        host(b""),
        host(b"server.example\0"),
        host(b"server\0.example"),
        host(b"SERVER.EXAMPLE"),
        host(b"server.example."),
        host(b".."),
        host(b"\xff\xfe\x80"),
        host("sérver.example".as_bytes()),
        host(b"127.0.0.1"),
        host(b"::1"),
        host(&[b'a'; 64]),
        host(&long[..255]),
        host(&long),
        host(&[b'a'; 60_000]),
        vector16(&entry(1, b"server.example")),
        vector16(&[entry(0, b"server.example"), entry(0, b"other.example")].concat()),
        vector16(&[0, 0xff, 0xff, b'a']),
        vec![0xff, 0xff],
    ];
    // The session of a client that was here under the right name.
    let resumed = site.visit_past(&*clients[0], |id| {
        for body in &bodies {
            let mut hello = Hello::tls12().session_id(id);
            hello.set(kind::SERVER_NAME, body.clone());
            let answer = Answer::read(&send(&site, &hello.records()), id);
            // Names are the same in any case of letters.
            let same = *body == host(b"SERVER.EXAMPLE");
            let name = body.escape_ascii();
            assert_eq!(answer == Answer::Resumed, same, "{name}: {answer:?}");
            let mut hello = Hello::tls13().keys(&[id], 1, 32);
            hello.set(kind::SERVER_NAME, body.clone());
            send(&site, &hello.records());
        }
        let hello = Hello::tls12().session_id(id).nameless();
        assert_eq!(site.attack(&hello), Answer::Full);
    });
    assert!(resumed);
    assert_unharmed(&site, &clients);
}

fn keys_that_lie_about_their_lengths_resume_nothing(stack: Stack) {
    let (site, clients) = site(stack);
    let key = |id: &[u8]| [&vector16(id)[..], &[0; 4]].concat();
    let binders = vector16(&vector8(&[1; 32]));
    let good = [vector16(&key(&[7; 32])), binders.clone()].concat();
    let mut bodies = vec![
        Vec::new(),
        vec![0],
        vector16(&[]),
        [vector16(&[]), binders.clone()].concat(),
        // An identity longer than its list, a list longer than its extension, and what follows the last binder.
        [vector16(&[0xff, 0xff, 7]), binders.clone()].concat(),
        [&[0xff, 0xff][..], &key(&[7; 32]), &binders].concat(),
        [&good[..], &[0; 9]].concat(),
        [vector16(&key(&[7; 32])), vector16(&[255, 1])].concat(),
        // No age behind the identity.
        [vector16(&vector16(&[7; 32])), binders].concat(),
    ];
    bodies.extend((0..good.len()).map(|length| good[..length].to_vec()));
    for body in bodies {
        let hello = Hello::tls13().raw_keys(body);
        assert_ne!(
            Answer::read(&send(&site, &hello.records()), &[]),
            Answer::Resumed
        );
    }
    // Not at the end, where they have to be.
    let hello = Hello::tls13()
        .extension(kind::PRE_SHARED_KEY, good)
        .extension(kind::SESSION_TICKET, Vec::new());
    assert!(matches!(
        Answer::read(&send(&site, &hello.records()), &[]),
        Answer::Alert(_)
    ));
    assert_unharmed(&site, &clients);
}

fn flipped_bits_break_nothing(stack: Stack) {
    let (site, clients) = site(stack);
    let mut random = Random::new(4);
    for version in VERSIONS {
        let hello = Hello::of(version).session_id(&[7; 32]);
        let hello = match version {
            Version::Tls12 => hello,
            Version::Tls13 => hello.keys(&[[7; 32]; 2], 2, 32),
        };
        for _ in 0..500 {
            let mut records = hello.records();
            for _ in 0..=random.below(4) {
                let bit = random.below(8 * records.len() as u64) as usize;
                records[bit / 8] ^= 1 << (bit % 8);
            }
            send(&site, &records);
            site.next_second();
        }
    }
    assert_unharmed(&site, &clients);
}

fn bytes_that_are_no_tls_break_nothing(stack: Stack) {
    let (site, clients) = site(stack);
    let mut random = Random::new(5);
    let mut noise =
        |length: usize| -> Vec<u8> { (0..length).map(|_| random.next() as u8).collect() };
    let mut floods = vec![
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        vec![0; 1000],
        vec![0xff; 1000],
        // Records without content, over and over; alerts; another handshake message.
        [22, 3, 1, 0, 0].repeat(1000),
        [21, 3, 1, 0, 2, 1, 0].repeat(100),
        [22, 3, 1, 0, 4, 20, 0, 0, 0].to_vec(),
        // A hello of 16 megabytes, announced.
        [&[22, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff][..], &[0; 16380]].concat(),
    ];
    floods.extend([1, 5, 6, 100, 5000].map(&mut noise));
    for flood in floods {
        send(&site, &flood);
    }
    assert_unharmed(&site, &clients);
}
