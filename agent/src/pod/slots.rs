//! Work slots towards the runtime, lent for a while.
//!
//! The runtime works best on a few creates at a time: more only make each slower. But a slot that a hung call
//! keeps would hold up other pods, so a slot counts for [`LENT_FOR`] and is then given back while its call
//! goes on; only the pool's second bound holds for those.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{oneshot, watch};

/// How long a call counts against its pool.
pub const LENT_FOR: Duration = Duration::from_secs(2);

/// Who goes first when slots are scarce: smaller values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Order {
    /// False for what deletion waits for.
    pub starts: bool,
    /// False for critical pods.
    pub ordinary: bool,
    /// The pod's place in the line of admission.
    pub admitted: u64,
}

/// A pool of slots.
#[derive(Debug, Clone)]
pub struct Slots {
    pool: Arc<Pool>,
    lent_for: Duration,
}

#[derive(Debug)]
struct Pool {
    /// How many calls count at a time.
    width: usize,
    /// How many calls may be under way, counting or not.
    in_flight: usize,
    state: Mutex<State>,
    /// Whether calls are under way or wait.
    in_use: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct State {
    counted: usize,
    under_way: usize,
    tickets: u64,
    waiting: BTreeMap<(Order, u64), oneshot::Sender<Lent>>,
}

/// A slot in use. Dropping it gives it back.
#[derive(Debug)]
struct Lent {
    pool: Arc<Pool>,
    counts: bool,
}

impl Slots {
    /// A pool in which `width` calls count and `in_flight` may be under way.
    #[must_use]
    pub fn new(width: usize, in_flight: usize, lent_for: Duration) -> Self {
        let in_use = watch::Sender::new(false);
        Self { pool: Arc::new(Pool { width, in_flight, state: Mutex::default(), in_use }), lent_for }
    }

    /// The same pool for calls that count for another while.
    #[must_use]
    pub fn lending(self, lent_for: Duration) -> Self {
        Self { lent_for, ..self }
    }

    /// Whether calls are under way or wait for a slot.
    #[must_use]
    pub fn in_use(&self) -> watch::Receiver<bool> {
        self.pool.in_use.subscribe()
    }

    /// Runs a call in a slot. The call starts when a slot is free and is never dropped once started.
    pub async fn run<T>(&self, order: Order, call: impl Future<Output = T>) -> T {
        let mut lent = self.lend(order).await;
        tokio::pin!(call);
        tokio::select! {
            biased;
            answer = &mut call => return answer,
            () = tokio::time::sleep(self.lent_for) => {}
        }
        lent.stop_counting();
        call.await
    }

    async fn lend(&self, order: Order) -> Lent {
        let receiver = {
            let mut state = self.pool.lock();
            let (sender, receiver) = oneshot::channel();
            let ticket = state.tickets;
            state.tickets = ticket.wrapping_add(1);
            state.waiting.insert((order, ticket), sender);
            receiver
        };
        Pool::serve(&self.pool);
        match receiver.await {
            Ok(lent) => lent,
            // The pool lives as long as this call holds it, and serves every ticket: not reached.
            Err(_) => std::future::pending().await,
        }
    }
}

impl Pool {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands out slots as long as there are both slots and callers. A caller that is gone gives its slot back.
    fn serve(pool: &Arc<Self>) {
        pool.hand_out();
        let state = pool.lock();
        let in_use = state.under_way > 0 || !state.waiting.is_empty();
        // Beneath the lock, or an older word could overtake a newer one.
        pool.in_use.send_if_modified(|last| std::mem::replace(last, in_use) != in_use);
    }

    fn hand_out(self: &Arc<Self>) {
        let pool = self;
        loop {
            let sender = {
                let mut state = pool.lock();
                if state.counted >= pool.width || state.under_way >= pool.in_flight {
                    return;
                }
                let Some((_, sender)) = state.waiting.pop_first() else { return };
                state.counted += 1;
                state.under_way += 1;
                sender
            };
            // A refused slot is dropped here, outside of the lock, and so given back.
            drop(sender.send(Lent { pool: Arc::clone(pool), counts: true }));
        }
    }
}

impl Lent {
    fn stop_counting(&mut self) {
        if std::mem::take(&mut self.counts) {
            self.pool.lock().counted -= 1;
            Pool::serve(&self.pool);
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        {
            let mut state = self.pool.lock();
            state.under_way -= 1;
            if self.counts {
                state.counted -= 1;
            }
        }
        Pool::serve(&self.pool);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::time::Instant;

    fn order(admitted: u64) -> Order {
        Order { starts: true, ordinary: true, admitted }
    }

    #[tokio::test(start_paused = true)]
    async fn four_hung_calls_delay_the_fifth_by_the_lending_time() {
        let slots = Slots::new(4, 32, LENT_FOR);
        let start = Instant::now();
        let hung: Vec<_> = (0..4)
            .map(|pod| {
                let slots = slots.clone();
                Box::pin(async move { slots.run(order(pod), std::future::pending::<()>()).await })
            })
            .collect();
        let fifth = slots.run(order(9), async { start.elapsed() });
        tokio::select! {
            _ = futures::future::join_all(hung) => unreachable!("hung calls never end"),
            waited = fifth => assert!(waited <= LENT_FOR, "the fifth waited {waited:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn never_more_than_its_width_at_once_while_calls_are_quick() {
        let slots = Slots::new(3, 32, LENT_FOR);
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let calls = (0..20).map(|pod| {
            slots.run(order(pod), async {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(10)).await;
                now.fetch_sub(1, Ordering::SeqCst);
            })
        });
        futures::future::join_all(calls).await;
        assert_eq!(most.into_inner(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn deletion_and_critical_pods_overtake() {
        let slots = Slots::new(1, 32, LENT_FOR);
        let done = Mutex::new(Vec::new());
        let call = |name: &'static str, order: Order| {
            let (slots, done) = (&slots, &done);
            slots.run(order, async move {
                tokio::time::sleep(Duration::from_millis(1)).await;
                done.lock().unwrap().push(name);
            })
        };
        let plain = |admitted| Order { starts: true, ordinary: true, admitted };
        tokio::join!(
            call("first", plain(0)),
            call("old", plain(1)),
            call("young", plain(2)),
            call("critical", Order { starts: true, ordinary: false, admitted: 3 }),
            call("deletion", Order { starts: false, ordinary: true, admitted: 4 }),
        );
        assert_eq!(*done.lock().unwrap(), ["first", "deletion", "critical", "old", "young"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_gives_up_leaves_no_slot_behind() {
        let slots = Slots::new(1, 32, LENT_FOR);
        let long = slots.run(order(0), tokio::time::sleep(Duration::from_secs(1)));
        let gone = slots.run(order(1), async {});
        tokio::pin!(long);
        tokio::select! {
            biased;
            () = &mut long => unreachable!(),
            () = tokio::time::sleep(Duration::from_millis(1)) => {}
        }
        assert!(*slots.in_use().borrow());
        drop(gone);
        long.await;
        slots.run(order(2), async {}).await;
        assert!(!*slots.in_use().borrow());
        assert_eq!(slots.pool.lock().counted, 0);
        assert_eq!(slots.pool.lock().under_way, 0);
    }
}
