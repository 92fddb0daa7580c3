//! The state of the whole connection between clients and the server.

use std::future::pending;
use std::io;

use super::FakeApi;
use super::requests::{Mark, Open, Verb};

/// What happens to a request that comes now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Network {
    #[default]
    Up,
    /// Nobody listens: refused at once.
    Down,
    /// Packets vanish: no answer ever.
    BlackHole,
}

impl FakeApi {
    /// The server dies: open watches and calls are reset, new ones refused.
    pub fn down(&self) {
        self.set_network(Network::Down, Some(Mark::Reset));
    }

    /// All packets vanish: open watches and calls hear nothing any more, also after [`FakeApi::up`]; new calls hang.
    pub fn black_hole(&self) {
        self.set_network(Network::BlackHole, Some(Mark::Mute));
    }

    /// New requests are served again.
    pub fn up(&self) {
        self.set_network(Network::Up, None);
    }

    fn set_network(&self, network: Network, mark: Option<Mark>) {
        let mut state = self.lock();
        state.network = network;
        if let Some(mark) = mark {
            state.mark(mark, |_| true);
        }
        drop(state);
        self.wake();
    }

    /// Open watches of `resource` hear nothing any more, not even bookmarks; new ones are served.
    pub fn silence_watches(&self, resource: &str) {
        self.mark_watches(resource, Mark::Mute);
    }

    /// Open watches of `resource` get half an event and a reset connection.
    pub fn cut_watches(&self, resource: &str) {
        self.mark_watches(resource, Mark::Cut);
    }

    /// Open watches of `resource` get the ERROR event 410 Expired.
    pub fn expire_watches(&self, resource: &str) {
        self.mark_watches(resource, Mark::Expire);
    }

    /// Open watches of `resource` end in order.
    pub fn end_watches(&self, resource: &str) {
        self.mark_watches(resource, Mark::End);
    }

    fn mark_watches(&self, resource: &str, mark: Mark) {
        self.lock().mark(mark, |request| request.verb == Verb::Watch && request.resource == resource);
        self.wake();
    }
}

/// Lets a request through, refuses it, or holds it for ever.
pub async fn pass(api: &FakeApi) -> io::Result<()> {
    let network = api.lock().network;
    match network {
        Network::Up => Ok(()),
        Network::Down => Err(io::Error::new(io::ErrorKind::ConnectionRefused, "connection refused")),
        Network::BlackHole => pending().await,
    }
}

/// The same for an answer: what befell the network or this call meanwhile decides whether it arrives.
pub async fn answer_passes(open: &Open) -> io::Result<()> {
    match open.mark() {
        None => Ok(()),
        Some(Mark::Mute) => pending().await,
        Some(_) => Err(reset()),
    }
}

pub fn reset() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, "connection reset by peer")
}
