//! Connections whose libssl reads a socket by itself, and so sees the end of the stream, which the crate's own streams
//! do not tell it of.

use std::ffi::{c_int, c_void};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::thread;

use foreign_types::ForeignTypeRef;
use openssl::ssl::{Ssl, SslContext};
use openssl_sys::SSL;
use refrain::RemovalCause;
use refrain::adapter::openssl::UncleanShutdown;

use super::common::{Rig, assert_settled, watchdog};
use super::party::{Client, NAME, VERSIONS, server_with, sessions};

unsafe extern "C" {
    fn SSL_set_fd(ssl: *mut SSL, fd: c_int) -> c_int;
    fn SSL_accept(ssl: *mut SSL) -> c_int;
    fn SSL_read(ssl: *mut SSL, buffer: *mut c_void, len: c_int) -> c_int;
}

/// Serves one connection until nothing more can be read from it.
fn serve(context: &SslContext, socket: &UnixStream) {
    let ssl = Ssl::new(context).unwrap();
    let mut buffer = [0_u8; 100];
    // SAFETY: a live connection, which nobody else uses, on a socket that lives longer; the buffer has its length.
    unsafe {
        assert_eq!(SSL_set_fd(ssl.as_ptr(), socket.as_raw_fd()), 1);
        assert_eq!(SSL_accept(ssl.as_ptr()), 1);
        let mut read = || SSL_read(ssl.as_ptr(), buffer.as_mut_ptr().cast(), 100);
        assert_eq!(read(), 5);
        assert!(read() <= 0);
    }
}

/// A connection that a client ends by these bytes and no close_notify.
fn connect(context: &SslContext, client: &Client, end: &[u8]) {
    let _watchdog = watchdog();
    let (near, far) = UnixStream::pair().unwrap();
    thread::scope(|scope| {
        let server = scope.spawn(|| serve(context, &far));
        let mut ssl = Ssl::new(client.context()).unwrap();
        ssl.set_hostname(NAME).unwrap();
        let mut stream = ssl.connect(near).unwrap();
        stream.write_all(b"hello").unwrap();
        stream.get_mut().write_all(end).unwrap();
        drop(stream);
        server.join().unwrap();
    });
}

/// A record that nobody could have protected.
fn garbage() -> Vec<u8> {
    [&[23, 3, 3, 0, 40][..], &[0xaa; 40]].concat()
}

#[test]
fn an_end_of_the_stream_removes_the_session_unless_told_to_keep_it() {
    for version in VERSIONS {
        for choice in [UncleanShutdown::Remove, UncleanShutdown::Keep] {
            let rig = Rig::new(100);
            let context = server_with(sessions(&rig.cache, "rig").unclean_shutdown(choice));
            let client = Client::new(version);
            connect(&context, &client, b"");
            let removed = usize::from(choice == UncleanShutdown::Remove);
            let gone: Vec<_> = rig.gone().into_iter().map(|(_, cause)| cause).collect();
            let expected = vec![RemovalCause::Removed; removed];
            assert_eq!(gone, expected, "{version:?}, {choice:?}");
            let left = version.tickets() - removed as u64;
            assert_eq!(rig.cache.len() as u64, left, "{version:?}, {choice:?}");
            assert_settled(&rig.cache.stats());
        }
    }
}

#[test]
fn what_is_kept_at_the_end_of_the_stream_resumes() {
    for version in VERSIONS {
        let rig = Rig::new(100);
        let keeps = sessions(&rig.cache, "rig").unclean_shutdown(UncleanShutdown::Keep);
        let (context, client) = (server_with(keeps), Client::new(version));
        assert!(!client.visit(&context));
        connect(&context, &Client::new(version), b"");
        assert!(client.visit(&context), "{version:?}");
    }
}

#[test]
fn a_fatal_alert_removes_the_session_whatever_the_choice() {
    for version in VERSIONS {
        for choice in [UncleanShutdown::Remove, UncleanShutdown::Keep] {
            let rig = Rig::new(100);
            let context = server_with(sessions(&rig.cache, "rig").unclean_shutdown(choice));
            let client = Client::new(version);
            connect(&context, &client, &garbage());
            let gone: Vec<_> = rig.gone().into_iter().map(|(_, cause)| cause).collect();
            assert_eq!(gone, [RemovalCause::Removed], "{version:?}, {choice:?}");
            assert_eq!(rig.cache.len() as u64, version.tickets() - 1);
            assert_settled(&rig.cache.stats());
        }
    }
}
