//! A TCP proxy that loses what tests tell it to lose: what a network does between a node and its API server.
//!
//! Owns its listener and every connection; dropping [`Proxy`] ends them all. Real time only: it moves bytes between
//! sockets. This kernel's own network emulation is not needed.

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    reason = "each test program uses a part of it"
)]

mod pump;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What the network does now. Each direction has its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Path {
    /// Each piece of data arrives this much later.
    pub delay: Duration,
    /// Data is read and forgotten; the connection stays open. What was forgotten is gone for good, so a connection
    /// that was silenced once never works again.
    pub silent: bool,
}

/// What happens to new connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Door {
    #[default]
    Open,
    /// Nobody listens: connecting is refused.
    Closed,
    /// Connecting succeeds, and nothing is ever answered.
    Hole,
}

/// The state that all connections watch.
#[derive(Debug, Clone, Copy, Default)]
struct Weather {
    door: Door,
    up: Path,
    down: Path,
    /// Connections that were made before this count are reset.
    reset_before: usize,
}

/// A listening proxy.
pub struct Proxy {
    /// Where clients connect. Stays the same through [`Door::Closed`].
    pub address: SocketAddr,
    weather: watch::Sender<Weather>,
    made: Arc<AtomicUsize>,
    task: JoinSet<()>,
}

impl Proxy {
    /// Listens on a free port of the loopback address and forwards to `target`.
    pub async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (weather, seen) = watch::channel(Weather::default());
        let made = Arc::new(AtomicUsize::new(0));
        let mut task = JoinSet::new();
        task.spawn(listen(Some(listener), address, target, seen, Arc::clone(&made)));
        Self { address, weather, made, task }
    }

    /// How many connections clients have made.
    pub fn connections(&self) -> usize {
        self.made.load(Ordering::SeqCst)
    }

    /// Delays data on its way to the target (`up`) and to the client (`down`).
    pub fn delay(&self, up: Duration, down: Duration) {
        self.weather.send_modify(|weather| (weather.up.delay, weather.down.delay) = (up, down));
    }

    /// Drops everything both ways without a word, on open connections and on new ones.
    pub fn black_hole(&self) {
        self.weather.send_modify(|weather| {
            (weather.up.silent, weather.down.silent) = (true, true);
            weather.door = Door::Hole;
        });
    }

    /// Drops what comes from the target; what clients send still arrives there.
    pub fn drop_answers(&self) {
        self.weather.send_modify(|weather| weather.down.silent = true);
    }

    /// Drops what clients send; what the target says still arrives.
    pub fn drop_requests(&self) {
        self.weather.send_modify(|weather| weather.up.silent = true);
    }

    /// Resets every open connection; new ones work as before.
    pub fn reset(&self) {
        let made = self.connections();
        self.weather.send_modify(|weather| weather.reset_before = made);
    }

    /// Resets every open connection and refuses new ones.
    pub fn refuse(&self) {
        self.weather.send_modify(|weather| weather.door = Door::Closed);
        self.reset();
    }

    /// Good weather for new connections. Those that were silenced stay silent: their bytes are lost.
    pub fn heal(&self) {
        self.weather.send_modify(|weather| {
            *weather = Weather { reset_before: weather.reset_before, ..Weather::default() };
        });
    }
}

async fn listen(
    mut listener: Option<TcpListener>,
    address: SocketAddr,
    target: SocketAddr,
    mut weather: watch::Receiver<Weather>,
    made: Arc<AtomicUsize>,
) {
    let mut connections = JoinSet::new();
    loop {
        let door = weather.borrow_and_update().door;
        match (door, &listener) {
            (Door::Closed, Some(_)) => listener = None,
            (Door::Open | Door::Hole, None) => listener = Some(bind(address)),
            _ => {}
        }
        tokio::select! {
            changed = weather.changed() => if changed.is_err() { return },
            stream = accept(listener.as_ref()) => {
                let number = made.fetch_add(1, Ordering::SeqCst) + 1;
                connections.spawn(pump::connection(stream, target, weather.clone(), number));
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

/// The same port again, whatever old connections of it are still being forgotten.
fn bind(address: SocketAddr) -> TcpListener {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(address).unwrap();
    socket.listen(1_024).unwrap()
}

async fn accept(listener: Option<&TcpListener>) -> TcpStream {
    let Some(listener) = listener else { return std::future::pending().await };
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            return stream;
        }
    }
}
