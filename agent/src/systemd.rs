//! What the agent tells systemd: ready, stopping, its status line, and that it is alive.
//!
//! The watchdog loop runs on the same threads as everything else, so a deadlock of those withholds the ping by itself;
//! beyond that each ping asks a check, and a failed one is named in the log before systemd acts. Woken by its timer
//! only. Writes datagrams to the notify socket. Ends when told to. Without a socket nothing is sent.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::excerpt::excerpt;

/// Longest status line, so that it stays one line of `systemctl status`.
const MAX_STATUS: usize = 200;
/// systemd's socket has a queue; a full one is waited for so long, then the message is dropped.
const SEND_TIMEOUT: Duration = Duration::from_millis(200);

/// Sends to systemd, if it listens. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Notifier {
    socket: Option<Arc<UnixDatagram>>,
}

/// Says that the agent is alive, as long as a check says so too.
#[derive(Debug)]
pub struct Watchdog<F> {
    notifier: Notifier,
    period: Duration,
    alive: F,
}

impl Notifier {
    /// Sends to the socket that systemd named in the environment, if it did. A socket that cannot be used is
    /// logged and then treated as none.
    #[must_use]
    pub fn from_environment() -> Self {
        match std::env::var_os("NOTIFY_SOCKET") {
            Some(path) => Self::at(Path::new(&path)).unwrap_or_else(|error| {
                warn!(path = %Path::new(&path).display(), %error, "failed to open notify socket");
                Self::absent()
            }),
            None => Self::absent(),
        }
    }

    /// Sends to the socket at `path`; a leading `@` means one in the abstract namespace.
    pub fn at(path: &Path) -> io::Result<Self> {
        let address = match path.as_os_str().as_bytes().strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(path)?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.connect_addr(&address)?;
        socket.set_write_timeout(Some(SEND_TIMEOUT))?;
        Ok(Self { socket: Some(Arc::new(socket)) })
    }

    /// Sends nothing.
    #[must_use]
    pub fn absent() -> Self {
        Self { socket: None }
    }

    /// Start-up is over.
    pub fn ready(&self) {
        self.send(&NotifyState::Ready);
    }

    /// The agent is ending.
    pub fn stopping(&self) {
        self.send(&NotifyState::Stopping);
    }

    /// One line about how the agent is doing.
    pub fn status(&self, line: &str) {
        self.send(&NotifyState::Status(&excerpt(line, MAX_STATUS)));
    }

    fn send(&self, state: &NotifyState<'_>) {
        let Some(socket) = &self.socket else { return };
        if let Err(error) = socket.send(state.to_string().as_bytes()) {
            warn!(%error, message = %state, "failed to notify systemd");
        }
    }
}

impl<F: FnMut() -> Result<(), String>> Watchdog<F> {
    /// A watchdog with the time that systemd set in the environment; none when it watches nothing. `alive` says
    /// by name what hangs; it must not wait.
    pub fn from_environment(notifier: Notifier, alive: F) -> Option<Self> {
        Some(Self::new(notifier, sd_notify::watchdog_enabled()?, alive))
    }

    /// A watchdog that pings twice within `timeout`, at least 2 ms.
    pub fn new(notifier: Notifier, timeout: Duration, alive: F) -> Self {
        let period = timeout.checked_div(2).unwrap_or(timeout).max(Duration::from_millis(1));
        Self { notifier, period, alive }
    }

    /// Pings at once, so that a slow start does not count as a hang, and then until told to stop.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut due = interval(self.period);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut hung: Option<String> = None;
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                _ = due.tick() => hung = self.pass(hung),
            }
        }
    }

    /// Pings or says why not; returns what hangs now.
    fn pass(&mut self, hung_before: Option<String>) -> Option<String> {
        match (self.alive)() {
            Ok(()) => {
                if hung_before.is_some() {
                    info!("watchdog check passes again");
                }
                self.notifier.send(&NotifyState::Watchdog);
                None
            }
            Err(check) => {
                error!(%check, "watchdog check failed, systemd is not pinged");
                self.notifier.status(&format!("hung: {check}"));
                Some(check)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::task::JoinSet;
    use tokio::time::sleep;

    use super::*;

    struct Systemd {
        _dir: tempfile::TempDir,
        socket: UnixDatagram,
        notifier: Notifier,
    }

    fn systemd() -> Systemd {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        let notifier = Notifier::at(&path).unwrap();
        Systemd { _dir: dir, socket, notifier }
    }

    impl Systemd {
        fn received(&self) -> Vec<String> {
            let mut buffer = [0; 1_024];
            let one = || {
                self.socket.recv(&mut buffer).ok().map(|n| String::from_utf8_lossy(&buffer[..n]).into_owned())
            };
            std::iter::from_fn(one).collect()
        }
    }

    #[test]
    fn states_are_sent_as_systemd_reads_them() {
        let systemd = systemd();
        systemd.notifier.ready();
        systemd.notifier.status("3 pods\nREADY=1");
        systemd.notifier.stopping();
        assert_eq!(systemd.received(), ["READY=1", "STATUS=3 pods READY=1", "STOPPING=1"]);
        Notifier::absent().ready();
    }

    #[test]
    fn an_abstract_socket_is_reached_and_a_missing_one_is_an_error() {
        let name = format!("pinnace-test-{}", std::process::id());
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        Notifier::at(Path::new(&format!("@{name}"))).unwrap().ready();
        let mut buffer = [0; 32];
        let length = socket.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"READY=1");
        assert!(Notifier::at(Path::new("/no/such/socket")).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn b40_the_watchdog_pings_from_second_0_and_withholds_while_a_check_fails() {
        let systemd = systemd();
        let well = Arc::new(AtomicBool::new(true));
        let asked = Arc::clone(&well);
        let alive = move || {
            if asked.load(Ordering::Relaxed) {
                Ok(())
            } else {
                Err("relist made no progress for 40 s".to_owned())
            }
        };
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks
            .spawn(Watchdog::new(systemd.notifier.clone(), Duration::from_secs(30), alive).run(stop.clone()));
        sleep(Duration::from_millis(1)).await;
        assert_eq!(systemd.received(), ["WATCHDOG=1"], "at once");
        sleep(Duration::from_secs(60)).await;
        assert_eq!(systemd.received(), vec!["WATCHDOG=1"; 4], "each 15 s");
        well.store(false, Ordering::Relaxed);
        sleep(Duration::from_secs(30)).await;
        assert_eq!(systemd.received(), vec!["STATUS=hung: relist made no progress for 40 s"; 2]);
        well.store(true, Ordering::Relaxed);
        sleep(Duration::from_secs(15)).await;
        assert_eq!(systemd.received(), ["WATCHDOG=1"]);
        stop.cancel();
        tasks.join_next().await.unwrap().unwrap();
    }
}
