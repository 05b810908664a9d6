//! 0-RTT data: what a client sends with its hello is used once, whoever sends it again.

use std::sync::Barrier;
use std::thread;

use openssl::ssl::{ErrorCode, SslContext};
use refrain::adapter::openssl::Sessions;

use super::common::{Rig, watchdog};
use super::memory::Side;
use super::party::{Client, NAME, Version, close, go_on, plain_server, sessions};

const DATA: &[u8] = b"POST /transfer";

fn server(sessions: Sessions) -> SslContext {
    let mut builder = plain_server();
    sessions.install(&mut builder).unwrap();
    builder.set_max_early_data(1000).unwrap();
    builder.build()
}

/// A client's side that has sent its hello and early data, and the bytes of both.
fn early(client: &Client) -> (Side, Vec<u8>) {
    let mut side = client.connect(Some(NAME));
    assert_eq!(side.stream().write_early_data(DATA).unwrap(), DATA.len());
    let flight = side.take_outgoing();
    (side, flight)
}

/// What a server reads as early data of these bytes.
pub(crate) fn read_early(server: &mut Side, flight: &[u8]) -> Vec<u8> {
    server.push(flight);
    let mut data = Vec::new();
    loop {
        let mut buffer = [0; 1000];
        match server.stream().read_early_data(&mut buffer) {
            Ok(0) => return data,
            Ok(count) => data.extend(&buffer[..count]),
            Err(error) if error.code() == ErrorCode::WANT_READ => return data,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn early_data_is_read_once_and_never_when_it_is_sent_again() {
    let rig = Rig::new(100);
    let (context, client) = (
        server(sessions(&rig.cache, "rig")),
        Client::new(Version::Tls13),
    );
    assert!(!client.visit(&context));
    let (mut client, flight) = early(&client);
    let mut server = Side::server(&context);
    assert_eq!(read_early(&mut server, &flight), DATA);
    for _ in 0..3 {
        let mut replayed = Side::server(&context);
        assert_eq!(read_early(&mut replayed, &flight), b"");
        assert!(!replayed.has_resumed());
    }
    // The original goes on as if nothing had happened.
    let answer = server.take_outgoing();
    let finished = client.feed(&answer);
    assert!(go_on(&mut client, &mut server, finished) && server.has_resumed());
    server.feed(&client.send(b"more"));
    assert_eq!(server.received(), b"more");
    close(&mut client, &mut server);
    assert_eq!(read_early(&mut Side::server(&context), &flight), b"");
}

#[test]
fn of_many_servers_that_get_the_same_flight_at_once_one_reads_it() {
    let _watchdog = watchdog();
    let rig = Rig::new(1000);
    let context = server(sessions(&rig.cache, "rig"));
    for _ in 0..20 {
        let client = Client::new(Version::Tls13);
        assert!(!client.visit(&context));
        let (_client, flight) = early(&client);
        let start = Barrier::new(4);
        let read: usize = thread::scope(|scope| {
            let threads = [(); 4].map(|()| {
                scope.spawn(|| {
                    let mut server = Side::server(&context);
                    start.wait();
                    usize::from(read_early(&mut server, &flight) == DATA)
                })
            });
            threads.map(|thread| thread.join().unwrap()).iter().sum()
        });
        assert_eq!(read, 1);
    }
}

#[test]
fn a_replay_before_the_original_takes_its_place_once() {
    let rig = Rig::new(100);
    let context = server(sessions(&rig.cache, "rig"));
    let client = Client::new(Version::Tls13);
    assert!(!client.visit(&context));
    let (_client, flight) = early(&client);
    let read = [(); 3].map(|()| read_early(&mut Side::server(&context), &flight));
    assert_eq!(read, [DATA, b"", b""]);
}

/// No cache sees stateless tickets, so nothing here could tell the second use of one from the first.
#[test]
fn early_data_under_a_stateless_ticket_is_not_read_twice_either() {
    let rig = Rig::new(100);
    let context = server(sessions(&rig.cache, "rig").stateless_tickets());
    let client = Client::new(Version::Tls13);
    assert!(!client.visit(&context));
    let (_client, flight) = early(&client);
    let read = [(); 3].map(|()| read_early(&mut Side::server(&context), &flight));
    let accepted = read.iter().filter(|data| *data == DATA).count();
    assert!(accepted <= 1, "{accepted} times");
}
