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
/// A call of this length says that the runtime is not quick, and that to wait for it brings nothing.
const QUICK: Duration = Duration::from_millis(500);

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
    /// How many do right after there were none; one more with each that ends. All that begin together end together; so
    /// the first of many pods is there early, and the runtime's throughput does not suffer for long.
    narrow: usize,
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
    /// Calls that ended, or showed to be long, since there were none.
    ended: usize,
    waiting: BTreeMap<(Order, u64), oneshot::Sender<Lent>>,
    /// Who wants to know that few calls are before theirs.
    approaching: BTreeMap<(Order, u64), (usize, oneshot::Sender<()>)>,
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
        let pool = Pool { width, narrow: width, in_flight, state: Mutex::default(), in_use };
        Self { pool: Arc::new(pool), lent_for }
    }

    /// A pool as by [`Self::new`] in which `narrow` calls count until some have ended.
    #[must_use]
    pub fn growing(narrow: usize, width: usize, in_flight: usize, lent_for: Duration) -> Self {
        let in_use = watch::Sender::new(false);
        let narrow = narrow.min(width);
        let pool = Pool { width, narrow, in_flight, state: Mutex::default(), in_use };
        Self { pool: Arc::new(pool), lent_for }
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
        let quick = QUICK.min(self.lent_for);
        tokio::select! {
            biased;
            answer = &mut call => return answer,
            () = tokio::time::sleep(quick) => lent.pool.widen(),
        }
        tokio::select! {
            biased;
            answer = &mut call => return answer,
            () = tokio::time::sleep(self.lent_for.saturating_sub(quick)) => {}
        }
        lent.stop_counting();
        call.await
    }

    /// Waits until fewer than `ahead` calls wait for a slot of this pool before one of that order.
    pub async fn near(&self, order: Order, ahead: usize) {
        let receiver = {
            let mut state = self.pool.lock();
            if state.before(order) < ahead {
                return;
            }
            let (sender, receiver) = oneshot::channel();
            let ticket = state.tickets;
            state.tickets = ticket.wrapping_add(1);
            state.approaching.insert((order, ticket), (ahead, sender));
            receiver
        };
        // An end of the sender without a word cannot be; it would let the caller go on, which harms nothing.
        let _told = receiver.await;
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
        let mut state = pool.lock();
        let near = state.near();
        let in_use = state.under_way > 0 || !state.waiting.is_empty();
        if !in_use {
            state.ended = 0;
        }
        // Beneath the lock, or an older word could overtake a newer one.
        pool.in_use.send_if_modified(|last| std::mem::replace(last, in_use) != in_use);
        drop(state);
        for sender in near {
            // Who does not wait any more needs no word.
            let _gone = sender.send(());
        }
    }

    /// As many as the pool allows may count from now on.
    fn widen(self: &Arc<Self>) {
        self.lock().ended = usize::MAX;
        Self::serve(self);
    }

    fn width(&self, ended: usize) -> usize {
        self.narrow.saturating_add(ended).min(self.width)
    }

    fn hand_out(self: &Arc<Self>) {
        let pool = self;
        loop {
            let sender = {
                let mut state = pool.lock();
                if state.counted >= pool.width(state.ended) || state.under_way >= pool.in_flight {
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

impl State {
    /// How many calls wait before one of that order.
    fn before(&self, order: Order) -> usize {
        self.waiting.range(..(order, 0)).count()
    }

    /// Takes out those that need not wait any longer.
    fn near(&mut self) -> Vec<oneshot::Sender<()>> {
        let mut near = Vec::new();
        while let Some(((order, ticket), (ahead, sender))) = self.approaching.pop_first() {
            if !sender.is_closed() && self.waiting.range(..(order, 0)).take(ahead).count() >= ahead {
                self.approaching.insert((order, ticket), (ahead, sender));
                break;
            }
            near.push(sender);
        }
        near
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
            state.ended = state.ended.saturating_add(1);
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
    async fn the_first_of_many_shares_with_few_and_hung_calls_hold_up_no_longer_for_it() {
        let slots = Slots::growing(2, 4, 32, LENT_FOR);
        let start = Instant::now();
        let begun = Mutex::new(Vec::new());
        let call = |pod: u64, takes: u64| {
            let (slots, begun) = (&slots, &begun);
            slots.run(order(pod), async move {
                begun.lock().unwrap().push(start.elapsed().as_millis());
                tokio::time::sleep(Duration::from_millis(takes)).await;
            })
        };
        // Two ends make room for four.
        futures::future::join_all((0..8).map(|pod| call(pod, 100))).await;
        assert_eq!(*begun.lock().unwrap(), [0, 0, 100, 100, 100, 100, 200, 200]);
        begun.lock().unwrap().clear();
        // It was idle, so it is narrow again, but for no longer than a quick call takes.
        let start_of_second = start.elapsed().as_millis();
        futures::future::join_all((0..5).map(|pod| call(pod, 10_000))).await;
        let begun: Vec<_> = begun.lock().unwrap().iter().map(|at| at - start_of_second).collect();
        assert_eq!(begun, [0, 0, 500, 500, 2000]);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_prepares_a_call_is_told_when_few_are_before_it() {
        let slots = Slots::new(1, 32, LENT_FOR);
        let start = Instant::now();
        let call = || async { tokio::time::sleep(Duration::from_millis(100)).await };
        let calls = (0..10).map(|pod| slots.run(order(pod), call()));
        let told = Mutex::new(Vec::new());
        let near = |pod: u64| {
            let (slots, told) = (&slots, &told);
            async move {
                tokio::task::yield_now().await;
                slots.near(order(pod), 3).await;
                told.lock().unwrap().push((pod, start.elapsed().as_millis()));
            }
        };
        let prepare = futures::future::join_all([near(9), near(6), near(3)]);
        // One that gives up is in nobody's way.
        let gone = tokio::time::timeout(Duration::from_millis(1), slots.near(order(5), 1));
        let (_, _, gone) = futures::join!(futures::future::join_all(calls), prepare, gone);
        assert!(gone.is_err());
        assert_eq!(*told.lock().unwrap(), [(3, 0), (6, 300), (9, 600)]);
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
