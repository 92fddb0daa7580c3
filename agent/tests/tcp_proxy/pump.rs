//! One connection through the proxy: two directions of bytes, each under its own weather.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::{Door, Path, Weather};

/// Pieces that are on their way at most; a full way holds back the sender, as a full socket buffer does.
const ON_THE_WAY: usize = 1_024;

/// Forwards until both directions have ended or a reset comes.
pub async fn connection(
    client: TcpStream,
    target: SocketAddr,
    weather: watch::Receiver<Weather>,
    number: usize,
) {
    let was_hole = weather.borrow().door == Door::Hole;
    // Dropping a socket with this sends a reset and not an orderly end.
    let _best_effort = client.set_zero_linger();
    let _latency_only = client.set_nodelay(true);
    let reset = reset(weather.clone(), number);
    if was_hole {
        tokio::select! {
            () = reset => {}
            () = swallow(client) => {}
        }
        return;
    }
    let Ok(server) = TcpStream::connect(target).await else { return };
    let _best_effort = server.set_zero_linger();
    let _latency_only = server.set_nodelay(true);
    let (client_reads, client_writes) = client.into_split();
    let (server_reads, server_writes) = server.into_split();
    let up = direction(client_reads, server_writes, weather.clone(), |weather| weather.up);
    let down = direction(server_reads, client_writes, weather, |weather| weather.down);
    tokio::select! {
        () = reset => {}
        _ = futures::future::join(up, down) => {}
    }
}

async fn reset(mut weather: watch::Receiver<Weather>, number: usize) {
    // The proxy's end ends its connections too.
    let _gone = weather.wait_for(|weather| weather.reset_before >= number).await;
}

/// Reads and forgets, until the client gives up.
async fn swallow(mut client: TcpStream) {
    let mut buffer = vec![0; 16_384];
    while client.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
}

/// One direction: a reader that stamps what it reads, and a writer that waits until it is due.
async fn direction(
    mut from: OwnedReadHalf,
    to: OwnedWriteHalf,
    weather: watch::Receiver<Weather>,
    path: impl Fn(&Weather) -> Path,
) {
    let (sender, receiver) = mpsc::channel(ON_THE_WAY);
    let delivery = deliver(to, receiver);
    let reading = async move {
        let mut lost = false;
        let mut buffer = vec![0; 16_384];
        while let Ok(read) = from.read(&mut buffer).await {
            let now = path(&weather.borrow());
            // A stream with a hole in it is worth nothing: once silent, silent for good.
            lost |= now.silent;
            if read == 0 {
                break;
            }
            let due = Instant::now() + now.delay.min(Duration::from_secs(3_600));
            let piece = buffer.get(..read).unwrap_or_default().to_vec();
            if !lost && sender.send((due, piece)).await.is_err() {
                break;
            }
        }
        if lost {
            // The end of the stream is lost like everything else.
            std::future::pending::<()>().await;
        }
    };
    futures::future::join(reading, delivery).await;
}

/// An end that both sides agreed on is no reset.
#[expect(deprecated, reason = "no time is waited: this only takes back the zero")]
fn orderly(stream: &TcpStream) {
    let _best_effort = stream.set_linger(None);
}

async fn deliver(mut to: OwnedWriteHalf, mut pieces: mpsc::Receiver<(Instant, Vec<u8>)>) {
    while let Some((due, piece)) = pieces.recv().await {
        sleep_until(due).await;
        if to.write_all(&piece).await.is_err() {
            return;
        }
    }
    orderly(to.as_ref());
    let _gone = to.shutdown().await;
}
