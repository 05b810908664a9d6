//! A tokio server with a shared tier: the store is asked before the handshake, where blocking is allowed, and never by the
//! handshake itself.
//!
//! ```text
//! cargo run --release --features redis --example tokio_server
//! ```
//!
//! `serve` is what to look at: it reads the ClientHello, finds the sessions in it that the client offers, and fetches them by
//! `prefetch` under `spawn_blocking`. Then rustls gets the hello and the rest of the connection.
//!
//! The rest is a show of it: two such servers in one process share a Redis, a few clients get their sessions at one and come
//! back to the other, and it is counted how many resumed and how often a handshake read from the store. It starts a
//! redis-server, unless `--redis URL` names one.

use std::error::Error;
use std::io::{self, Cursor};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use rcgen::CertifiedKey;
use refrain::adapter::rustls::Sessions;
use refrain::store::{
    ExternalOptions, ExternalStats, Keys, MAX_READ_BUDGET, Redis, resumption_ids,
};
use refrain::{ContextId, SessionCache};
use rustls::client::Resumption;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, HandshakeKind, RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt, join};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::task::spawn_blocking;
use tokio_rustls::{TlsAcceptor, TlsConnector};

#[path = "cluster/redis_server.rs"]
mod redis_server;

/// Clients of each version.
const CLIENTS: usize = 20;
/// The exit code where there is no Redis.
const NO_REDIS: u8 = 3;

type Failure = Box<dyn Error + Send + Sync>;

/// A server: its cache with the store behind it, and its TLS.
struct Server {
    sessions: Arc<Sessions>,
    acceptor: TlsAcceptor,
}

/// What a connection came to, as its server saw it.
struct Served {
    resumed: bool,
    /// How often the handshake itself asked the store.
    reads: u64,
}

/// One connection: the hello, the sessions in it, the handshake, a line. A server for strangers also sets a limit to how long
/// all of this may take.
async fn serve(server: &Server, mut stream: TcpStream) -> io::Result<Served> {
    let hello = first_record(&mut stream).await?;
    let offered = resumption_ids(&hello);
    if !offered.is_empty() {
        // A read of the store may take milliseconds: not on a thread that other connections need.
        let sessions = Arc::clone(&server.sessions);
        spawn_blocking(move || sessions.cache().prefetch(sessions.context(), &offered)).await?;
    }
    let before = reads(server);
    // rustls reads the hello once more, and then on from the connection.
    let (reader, writer) = stream.into_split();
    let stream = join(Cursor::new(hello).chain(reader), writer);
    let mut tls = server.acceptor.accept(stream).await?;
    let served = Served {
        resumed: tls.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed),
        reads: reads(server) - before,
    };
    tls.write_all(b"hello\n").await?;
    tls.shutdown().await?;
    Ok(served)
}

/// The first TLS record, as it comes. It is the whole ClientHello, unless that is of an unusual length: such a one is not
/// looked into, and its session is looked for by the handshake.
async fn first_record(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut record = vec![0; 5];
    stream.read_exact(&mut record).await?;
    let length = usize::from(u16::from_be_bytes([record[3], record[4]]));
    record.resize(5 + length, 0);
    stream.read_exact(&mut record[5..]).await?;
    Ok(record)
}

/// How often the server's cache has asked the store for a session. Connections come one by one here, so that it is known
/// who asked.
fn reads(server: &Server) -> u64 {
    let stats = stats(server);
    stats.hits + stats.misses + stats.timeouts + stats.unavailable
}

fn stats(server: &Server) -> ExternalStats {
    server.sessions.cache().external_stats().unwrap_or_default()
}

impl Server {
    fn new(
        url: &str,
        keys: [[u8; 32]; 2],
        identity: &CertifiedKey<rcgen::KeyPair>,
    ) -> Result<Self, Failure> {
        let store = Redis::at(url)?.build()?;
        // The budget is a bound; on a machine that does everything at once it had better be a wide one.
        let options =
            ExternalOptions::new(Keys::new(&keys[0], &keys[1])?).read_budget(MAX_READ_BUDGET);
        let cache = SessionCache::builder().external(store, options).build()?;
        let context = ContextId::derive("tokio_server", &[("cert", identity.cert.der())]);
        let sessions = Sessions::new(&cache, context)?;

        let key = PrivateKeyDer::Pkcs8(identity.signing_key.serialize_der().into());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![identity.cert.der().clone()], key)?;
        config.session_storage = Arc::clone(&sessions) as _;
        Ok(Self {
            sessions,
            acceptor: TlsAcceptor::from(Arc::new(config)),
        })
    }
}

/// Connects a client to a server. Returns what the server saw.
async fn visit(server: &Server, client: &Arc<ClientConfig>) -> Result<Served, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let connecting = async {
        let stream = TcpStream::connect(address).await?;
        let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
        let mut tls = TlsConnector::from(Arc::clone(client))
            .connect(name, stream)
            .await?;
        let mut text = String::new();
        // To the end: with TLS 1.3, the session comes before the line.
        tls.read_to_string(&mut text).await
    };
    let accepting = async {
        let (stream, _) = listener.accept().await?;
        serve(server, stream).await
    };
    let (_, served) = tokio::try_join!(connecting, accepting)?;
    Ok(served)
}

/// The servers, the clients, and what came of it.
async fn show(url: &str) -> Result<bool, Failure> {
    let mut keys = [[0; 32]; 2];
    for key in &mut keys {
        getrandom::fill(key)?;
    }
    let identity = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let first = Server::new(url, keys, &identity)?;
    let second = Server::new(url, keys, &identity)?;
    let mut clients = Vec::new();
    for version in [&TLS12, &TLS13] {
        let mut roots = RootCertStore::empty();
        roots.add(identity.cert.der().clone())?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        clients.extend((0..CLIENTS).map(|_| {
            let mut config = config.clone();
            config.resumption = Resumption::in_memory_sessions(1);
            Arc::new(config)
        }));
    }

    let settled = |server: &Server| {
        let cache = server.sessions.cache().clone();
        spawn_blocking(move || cache.settle_external(Duration::from_secs(10)))
    };
    if !(settled(&first).await? && settled(&second).await?) {
        return Err("the servers do not reach the store".into());
    }
    for client in &clients {
        visit(&first, client).await?;
    }
    // Writes wait for nobody, but the clients here are faster than any other.
    settled(&first).await?;
    let (mut resumed, mut by_handshakes) = (0, 0);
    for client in &clients {
        let served = visit(&second, client).await?;
        resumed += usize::from(served.resumed);
        by_handshakes += served.reads;
    }
    let stats = stats(&second);
    println!(
        "{resumed} of {} clients resumed at the other server; {} reads of the store before handshakes, {by_handshakes} by them; \
         {} sessions of TLS 1.3 were kept for their handshakes",
        clients.len(),
        reads(&second),
        stats.prefetched,
    );
    // What is not read in time is looked for again, and maybe in vain: that may happen on a busy machine, now and then.
    let late = (stats.timeouts + stats.unavailable).min(2);
    if late > 0 {
        println!(
            "the store was late, {} times",
            stats.timeouts + stats.unavailable
        );
    }
    Ok(resumed + late as usize >= clients.len() && by_handshakes <= late)
}

fn main() -> Result<ExitCode, Failure> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let (_redis, url) = match &arguments[..] {
        [] => {
            let Some(server) = redis_server::RedisServer::start()? else {
                eprintln!("NOT RUN: redis-server is not installed, and there is no --redis URL");
                return Ok(ExitCode::from(NO_REDIS));
            };
            let url = server.url();
            (Some(server), url)
        }
        [option, url] if option == "--redis" => (None, url.clone()),
        _ => {
            eprintln!("usage: tokio_server [--redis URL]");
            return Ok(ExitCode::from(2));
        }
    };
    let runtime = Builder::new_multi_thread().enable_io().build()?;
    Ok(match runtime.block_on(show(&url))? {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}
