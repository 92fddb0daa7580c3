//! Places for image pulls: so many at once, and not all of them for one registry.
//!
//! A slow registry takes at most all places but one, so that images of another never wait for it. Who waits is served
//! in the order of the pods; one whose registry has its share is passed over.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::pod::slots::Order;

/// The places. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Lanes {
    pool: Arc<Pool>,
}

#[derive(Debug)]
struct Pool {
    width: usize,
    per_registry: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    taken: BTreeMap<String, usize>,
    tickets: u64,
    waiting: BTreeMap<(Order, u64), (String, oneshot::Sender<Lane>)>,
}

/// A place in use. Dropping it gives it back.
#[derive(Debug)]
pub struct Lane {
    pool: Arc<Pool>,
    registry: String,
}

impl Lanes {
    /// So many places; 0 counts as 1.
    #[must_use]
    pub fn new(width: usize) -> Self {
        let width = width.max(1);
        let per_registry = width.saturating_sub(1).max(1);
        Self { pool: Arc::new(Pool { width, per_registry, state: Mutex::default() }) }
    }

    /// Waits for a place. Cancel-safe: who gives up leaves nothing behind.
    pub async fn enter(&self, order: Order, registry: &str) -> Lane {
        let receiver = {
            let mut state = self.pool.lock();
            let (sender, receiver) = oneshot::channel();
            let ticket = state.tickets;
            state.tickets = ticket.wrapping_add(1);
            state.waiting.insert((order, ticket), (registry.to_owned(), sender));
            receiver
        };
        Pool::serve(&self.pool);
        match receiver.await {
            Ok(lane) => lane,
            // The pool lives as long as this call holds it, and serves every ticket: not reached.
            Err(_) => std::future::pending().await,
        }
    }
}

impl Pool {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(pool: &Arc<Self>) {
        loop {
            let (registry, sender) = {
                let mut state = pool.lock();
                let Some(next) = pool.next(&state) else { return };
                let Some((registry, sender)) = state.waiting.remove(&next) else { return };
                let taken = state.taken.entry(registry.clone()).or_default();
                *taken = taken.saturating_add(1);
                (registry, sender)
            };
            // A refused place is dropped here, outside of the lock, and so given back.
            drop(sender.send(Lane { pool: Arc::clone(pool), registry }));
        }
    }

    fn next(&self, state: &State) -> Option<(Order, u64)> {
        if state.taken.values().sum::<usize>() >= self.width {
            return None;
        }
        let has_room = |registry: &String| state.taken.get(registry).is_none_or(|n| *n < self.per_registry);
        state.waiting.iter().find(|(_, (registry, _))| has_room(registry)).map(|(key, _)| *key)
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        {
            let mut state = self.pool.lock();
            if let Some(taken) = state.taken.get_mut(&self.registry) {
                *taken = taken.saturating_sub(1);
                if *taken == 0 {
                    state.taken.remove(&self.registry);
                }
            }
        }
        Pool::serve(&self.pool);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use proptest::prelude::*;

    use super::*;

    fn order(admitted: u64) -> Order {
        Order { starts: true, ordinary: true, admitted }
    }

    #[test]
    fn one_registry_never_takes_the_last_place() {
        let lanes = Lanes::new(3);
        let enter = |pod, registry| lanes.enter(order(pod), registry).now_or_never();
        let (one, two) = (enter(0, "slow").unwrap(), enter(1, "slow").unwrap());
        assert!(enter(2, "slow").is_none());
        let three = enter(3, "quick").unwrap();
        assert!(enter(4, "other").is_none());
        drop(three);
        assert!(enter(5, "slow").is_none());
        let four = enter(6, "other").unwrap();
        drop((one, two, four));
        assert!(lanes.pool.lock().taken.is_empty());
    }

    #[test]
    fn who_comes_first_goes_first_unless_its_registry_has_its_share() {
        let lanes = Lanes::new(2);
        let slow = lanes.enter(order(0), "slow").now_or_never().unwrap();
        let mut again = Box::pin(lanes.enter(order(1), "slow"));
        assert!((&mut again).now_or_never().is_none());
        let quick = lanes.enter(order(2), "quick").now_or_never().unwrap();
        drop(slow);
        assert!(again.now_or_never().is_some());
        drop(quick);
    }

    #[test]
    fn one_place_is_for_everyone_in_turn() {
        let lanes = Lanes::new(1);
        let one = lanes.enter(order(0), "a").now_or_never().unwrap();
        assert!(lanes.enter(order(1), "b").now_or_never().is_none());
        drop(one);
        assert!(lanes.enter(order(1), "a").now_or_never().is_some());
    }

    proptest! {
        #[test]
        fn never_more_than_there_are_and_nothing_stays_behind(
            width in 1..5_usize,
            steps in prop::collection::vec((0..3_usize, any::<bool>()), 0..40),
        ) {
            let lanes = Lanes::new(width);
            let mut held = Vec::new();
            for (number, (registry, enters)) in steps.into_iter().enumerate() {
                if enters {
                    let order = order(number as u64);
                    held.extend(lanes.enter(order, &registry.to_string()).now_or_never());
                } else if !held.is_empty() {
                    held.remove(registry.min(held.len() - 1));
                }
                let taken = lanes.pool.lock().taken.clone();
                prop_assert!(taken.values().sum::<usize>() <= width);
                prop_assert!(taken.values().all(|n| *n <= width.saturating_sub(1).max(1)));
                prop_assert_eq!(taken.values().sum::<usize>(), held.len());
            }
            drop(held);
            prop_assert!(lanes.pool.lock().taken.is_empty());
        }
    }
}
