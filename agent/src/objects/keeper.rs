//! The loop that follows what pods refer to. Owns one follower for each subject; woken when pods come and go, when
//! something was long enough of no use, and by the followers themselves. Writes nothing of its own. Ends with the stop
//! token.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Strategy;
use super::book::{Book, UNUSED};
use super::fetch::Fetch;
use super::follow::Follow;
use super::lanes::Lanes;
use super::reach::Reach;
use crate::api::connections::Connections;
use crate::wait::at;

/// Least time between two looks for what is of no use.
const LEAST_PAUSE: Duration = Duration::from_secs(1);

/// The loop.
pub struct Keeper {
    book: Arc<Book>,
    fetch: Fetch,
    connections: Connections,
    strategy: Strategy,
    lanes: Lanes,
    /// Shared by the followers.
    reach: Arc<Reach>,
    /// Each gives back its lane when it ends.
    followers: FuturesUnordered<BoxFuture<'static, usize>>,
}

impl Keeper {
    pub(super) fn new(book: Arc<Book>, fetch: Fetch, connections: Connections, strategy: Strategy) -> Self {
        let (lanes, reach, followers) = (Lanes::default(), Arc::default(), FuturesUnordered::new());
        Self { book, fetch, connections, strategy, lanes, reach, followers }
    }

    /// Follows until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let next = self.pass();
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.book.wake.notified() => {}
                Some(lane) = self.followers.next() => self.lanes.leave(lane),
                () = at(next) => {}
            }
        }
    }

    /// Begins to follow what is new and ends what is of no use; when to look for the latter again.
    fn pass(&mut self) -> Option<Instant> {
        let now = Instant::now();
        let next = self.book.drop_unused(now, UNUSED);
        for task in self.book.take_up() {
            let lane = self.lanes.enter();
            let follow = Follow {
                task,
                book: Arc::clone(&self.book),
                fetch: self.fetch.clone(),
                client: self.connections.client(lane),
                strategy: self.strategy,
                reach: Arc::clone(&self.reach),
            };
            self.followers.push(Box::pin(async move {
                follow.run().await;
                lane
            }));
        }
        next.map(|next| next.max(now + LEAST_PAUSE))
    }
}

impl std::fmt::Debug for Keeper {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Keeper")
    }
}
