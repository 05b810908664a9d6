//! `--metrics`: the cache's counters for Prometheus, over HTTP.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};
use refrain::SessionCache;

use crate::args::Options;
use crate::output::{Failure, note};

/// The most that is read of a request.
const LONGEST_REQUEST: u64 = 8 * 1024;
/// How long a client may keep the page's only thread waiting.
const PATIENCE: Duration = Duration::from_secs(2);

/// The page, for as long as the server runs.
pub(crate) struct Page {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Page {
    /// Serves the page where the options say, if they do.
    pub(crate) fn start(
        options: &Options,
        cache: Option<&SessionCache>,
    ) -> Result<Option<Self>, Failure> {
        let (Some(addresses), Some(cache)) = (&options.metrics, cache.cloned()) else {
            return Ok(None);
        };
        let broken = |error: io::Error| Failure::broken(format!("--metrics: {error}"));
        let listener = TcpListener::bind(&addresses[..]).map_err(broken)?;
        let address = listener.local_addr().map_err(broken)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        // Not installed globally: all that it is to hear of is published below.
        let recorder = PrometheusBuilder::new().build_recorder();
        let serve = move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                // Who hangs up in the middle does not want the page.
                let _ = stream.and_then(|stream| answer(&stream, &recorder, &cache));
            }
        };
        let thread = thread::Builder::new()
            .name("metrics".to_owned())
            .spawn(serve)
            .map_err(broken)?;
        note(format_args!("counters at http://{address}/metrics"));
        Ok(Some(Self {
            address,
            stop,
            thread,
        }))
    }

    /// Takes the page down; it lets go of the cache.
    pub(crate) fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes the thread. If nobody listens any more, it has ended.
        let _ = TcpStream::connect_timeout(&self.address, PATIENCE);
        let _ = self.thread.join();
    }
}

fn answer(
    mut stream: &TcpStream,
    recorder: &PrometheusRecorder,
    cache: &SessionCache,
) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut lines = BufReader::new(stream.take(LONGEST_REQUEST)).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    // The rest of the head, so that closing the connection does not take the answer with it.
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let (status, body) = match request.split(' ').collect::<Vec<_>>()[..] {
        ["GET", "/metrics", _] => {
            metrics::with_local_recorder(recorder, || cache.publish_metrics());
            ("200 OK", recorder.handle().render())
        }
        _ => ("404 Not Found", "GET /metrics\n".to_owned()),
    };
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}
