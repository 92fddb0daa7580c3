//! Looks at the machine. Owns the looking; woken by time; writes [`HostFacts`] when they change; ends with the stop
//! token. A look that hangs, on a dead disk or a dead name server, keeps the last facts.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::complaint::Complaint;
use crate::host::address;
use crate::host::machine::{Host, Machine};

/// How often the machine itself is read: memory and processors change when someone plugs them in.
const MACHINE_PERIOD: Duration = Duration::from_secs(300);
/// How often the node's name is resolved.
const RESOLVE_PERIOD: Duration = Duration::from_secs(60);
/// How long the first answer of a name server may hold up the start, and any later one this loop.
const RESOLVE_PATIENCE: Duration = Duration::from_millis(500);
/// How long a look at the machine may take.
const LOOK_PATIENCE: Duration = Duration::from_secs(5);

/// Looks that may hang before no further one is begun: one of each sort.
const MAX_LOOKS: usize = 3;

/// What is known of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostFacts {
    /// The machine.
    pub machine: Machine,
    /// Addresses to publish, or why there are none.
    pub addresses: Result<Vec<IpAddr>, String>,
}

/// The loop.
pub struct HostWatch {
    host: Arc<dyn Host>,
    node: String,
    told: Vec<IpAddr>,
    period: Duration,
    facts: watch::Sender<Option<Arc<HostFacts>>>,
    machine: Option<(Machine, Instant)>,
    resolved: Option<(Vec<IpAddr>, Instant)>,
    complaint: Complaint,
    looks: Arc<Semaphore>,
}

impl HostWatch {
    /// The loop, which looks every `period`, and its reader's end. `told` are `--node-ip`'s addresses.
    #[must_use]
    pub fn new(
        host: Arc<dyn Host>,
        node: String,
        told: Vec<IpAddr>,
        period: Duration,
    ) -> (Self, watch::Receiver<Option<Arc<HostFacts>>>) {
        let (facts, reader) = watch::channel(None);
        let complaint = Complaint::default();
        let looks = Arc::new(Semaphore::new(MAX_LOOKS));
        (Self { host, node, told, period, facts, machine: None, resolved: None, complaint, looks }, reader)
    }

    /// Runs until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut due = interval(self.period);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                _ = due.tick() => {}
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.pass(Instant::now()) => {}
            }
        }
    }

    async fn pass(&mut self, now: Instant) {
        if self.machine.as_ref().is_none_or(|(_, at)| now.duration_since(*at) >= MACHINE_PERIOD) {
            match self.look(LOOK_PATIENCE, |host| host.machine()).await {
                Some(Ok(machine)) => self.machine = Some((machine, now)),
                Some(Err(error)) => self.complain(&format!("failed to read the machine: {error}"), now),
                None => self.complain("failed to read the machine: a file does not answer", now),
            }
        }
        let network = match self.look(LOOK_PATIENCE, |host| host.network()).await {
            Some(Ok(network)) => network,
            Some(Err(error)) => {
                return self.complain(&format!("failed to read the interfaces: {error}"), now);
            }
            None => return self.complain("failed to read the interfaces: the kernel does not answer", now),
        };
        self.resolve(now).await;
        let resolved = self.resolved.as_ref().map(|(ips, _)| ips.as_slice()).unwrap_or_default();
        let addresses = address::choose(&network, &self.told, &self.node, resolved);
        let Some((machine, _)) = &self.machine else { return };
        let facts = HostFacts { machine: machine.clone(), addresses };
        self.facts.send_if_modified(|last| {
            let is_news = last.as_ref().is_none_or(|last| **last != facts);
            if is_news {
                *last = Some(Arc::new(facts));
            }
            is_news
        });
    }

    /// A name server that does not answer changes nothing: the last answer holds.
    async fn resolve(&mut self, now: Instant) {
        let is_recent = |at: &Instant| now.duration_since(*at) < RESOLVE_PERIOD;
        let is_told = self.told.first().is_some_and(|ip| !ip.is_unspecified());
        if is_told || self.resolved.as_ref().is_some_and(|(_, at)| is_recent(at)) {
            return;
        }
        let node = self.node.clone();
        let answer = self.look(RESOLVE_PATIENCE, move |host| host.resolve(&node)).await;
        let last = self.resolved.take().map(|(ips, _)| ips).unwrap_or_default();
        self.resolved = Some((answer.unwrap_or(last), now));
    }

    /// Runs a look on a thread of its own; none if it hangs. The thread is left to its fate, and so few of them at a time
    /// that everybody else still finds one.
    async fn look<T: Send + 'static>(
        &self,
        patience: Duration,
        look: impl FnOnce(&dyn Host) -> T + Send + 'static,
    ) -> Option<T> {
        let host = Arc::clone(&self.host);
        let turn = Arc::clone(&self.looks).try_acquire_owned().ok()?;
        let looked = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            look(host.as_ref())
        });
        timeout(patience, looked).await.ok()?.ok()
    }

    fn complain(&mut self, problem: &str, now: Instant) {
        if self.complaint.raise(problem, now) {
            warn!(problem, "the node's status may be out of date");
        }
    }
}

impl std::fmt::Debug for HostWatch {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("HostWatch").field("node", &self.node).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::{io, thread};

    use super::*;
    use crate::host::address::Network;

    /// Answers nothing until the other end is gone.
    #[derive(Debug)]
    struct Hung {
        asked: AtomicUsize,
        end: Mutex<Receiver<()>>,
    }

    impl Hung {
        fn new() -> (Arc<Self>, Sender<()>) {
            let (hold, end) = channel();
            (Arc::new(Self { asked: AtomicUsize::new(0), end: Mutex::new(end) }), hold)
        }

        fn wait<T>(&self) -> io::Result<T> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            let _end = self.end.lock().unwrap().recv();
            Err(io::Error::other("it hung"))
        }
    }

    impl Host for Hung {
        fn machine(&self) -> io::Result<Machine> {
            self.wait()
        }

        fn network(&self) -> io::Result<Network> {
            self.wait()
        }

        fn resolve(&self, _: &str) -> Vec<IpAddr> {
            Vec::new()
        }
    }

    /// The pool of threads has an end, and whoever finds it empty waits for ever.
    #[test]
    fn b78_looks_that_hang_leave_the_threads_to_others() {
        let (host, hold) = Hung::new();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(MAX_LOOKS + 1)
            .build()
            .unwrap();
        runtime.block_on(async {
            let (watch, _facts) = HostWatch::new(
                Arc::clone(&host) as Arc<dyn Host>,
                "n".into(),
                Vec::new(),
                Duration::from_secs(10),
            );
            for _ in 0..20 {
                let look = watch.look(Duration::from_millis(1), |host| host.network().is_ok()).await;
                assert_eq!(look, None);
            }
            let other = tokio::task::spawn_blocking(|| thread::current().id());
            timeout(Duration::from_secs(10), other).await.expect("a thread is left").unwrap();
            assert!(host.asked.load(Ordering::SeqCst) <= MAX_LOOKS);
            drop(hold);
        });
    }
}
