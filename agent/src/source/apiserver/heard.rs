//! Remembers when the API server was last heard, across restarts. Owns `<root>/pinnace/api-heard`; woken by changes of
//! the node's object and of the desired pods; writes the file at most once a minute; ends with the stop token.
//!
//! The node's report, every five minutes at the least, is the sign that the API server answers also where nothing
//! happens to pods. It counts while the pods are told of.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::disk::Disk;
use crate::source::desired::Desired;

/// Between two writes. Ages are counted in days; a write a minute is no load.
const PERIOD: Duration = Duration::from_secs(60);
/// A time as text is shorter.
const LONGEST: u64 = 64;

/// The file.
#[derive(Debug, Clone)]
pub struct Heard {
    disk: Arc<dyn Disk>,
    path: PathBuf,
}

/// What says that the API server is heard.
#[derive(Debug, Clone)]
pub struct Signs {
    /// The node's object, as the API server last gave it.
    pub node: watch::Receiver<Option<Arc<Node>>>,
    /// What the API wants.
    pub desired: watch::Receiver<Arc<Desired>>,
    /// What keeps the API server from telling of pods; empty when nothing does.
    pub problem: watch::Receiver<String>,
}

impl Signs {
    fn are_good(&mut self) -> bool {
        let synced = self.desired.borrow_and_update().synced;
        let known = self.node.borrow_and_update().is_some();
        synced && known && self.problem.borrow().is_empty()
    }
}

impl Heard {
    /// In the agent's own directory, `<root>/pinnace`.
    #[must_use]
    pub fn new(disk: Arc<dyn Disk>, own: PathBuf) -> Self {
        Self { disk, path: own.join("api-heard") }
    }

    /// When the API server was last heard, by the wall clock; none if that is not known.
    pub async fn read(&self) -> Option<Timestamp> {
        let Self { disk, path } = self.clone();
        let read = tokio::task::spawn_blocking(move || disk.read(&path, LONGEST)).await.ok()?;
        match read {
            Ok(bytes) => std::str::from_utf8(&bytes).ok()?.trim().parse().ok(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(%error, path = %self.path.display(), "failed to read when the API server was last heard");
                None
            }
        }
    }

    async fn write(&self, now: Timestamp) -> std::io::Result<()> {
        let Self { disk, path } = self.clone();
        let text = format!("{now}\n");
        let write = move || {
            // The journal makes the directory with its first record, which may come later.
            path.parent().map_or(Ok(()), |own| disk.create_dir_all(own))?;
            disk.replace(&path, text.as_bytes())
        };
        tokio::task::spawn_blocking(write).await.unwrap_or_else(|error| Err(std::io::Error::other(error)))
    }

    /// Keeps the time until `stop`.
    pub async fn keep(self, mut signs: Signs, clock: Clock, stop: CancellationToken) {
        let mut failed = false;
        loop {
            if signs.are_good() {
                let written = self.write(clock.now().wall).await;
                if let (Err(error), false) = (&written, failed) {
                    let path = self.path.display();
                    tracing::warn!(%error, %path, "failed to note that the API server was heard");
                }
                failed = written.is_err();
                tokio::select! {
                    biased;
                    () = stop.cancelled() => return,
                    () = sleep(PERIOD) => {}
                }
            }
            let more = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                more = signs.node.changed() => more,
                more = signs.desired.changed() => more,
            };
            if more.is_err() {
                return stop.cancelled().await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::disk::MemoryDisk;

    #[tokio::test(start_paused = true)]
    async fn it_is_written_once_pods_are_known_and_then_at_most_once_a_minute() {
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::default());
        disk.create_dir_all(Path::new("/r/pinnace")).unwrap();
        let heard = Heard::new(Arc::clone(&disk), "/r/pinnace".into());
        let start = Timestamp::from_second(1_000_000).unwrap();
        let clock = Clock::scripted("b", Duration::ZERO, start);
        let (told_node, node) = watch::channel(Some(Arc::new(Node::default())));
        let (told_pods, desired) = watch::channel(Arc::new(Desired::default()));
        let (told_problem, problem) = watch::channel(String::new());
        let signs = Signs { node, desired, problem };
        let stop = CancellationToken::new();
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(heard.clone().keep(signs, clock, stop.clone()));
        sleep(Duration::from_secs(1)).await;
        assert_eq!(heard.read().await, None, "no list was believed yet");
        told_pods.send_replace(Arc::new(Desired { synced: true, ..Desired::default() }));
        sleep(Duration::from_secs(1)).await;
        let first = heard.read().await.unwrap();
        assert!(first >= start + Duration::from_secs(1), "{first}");
        told_node.send_replace(Some(Arc::default()));
        sleep(Duration::from_secs(30)).await;
        assert_eq!(heard.read().await, Some(first));
        sleep(Duration::from_secs(40)).await;
        let second = heard.read().await.unwrap();
        assert!(second >= first + Duration::from_secs(60), "{second}");
        told_problem.send_replace("gone".to_owned());
        sleep(Duration::from_secs(90)).await;
        told_node.send_replace(Some(Arc::default()));
        sleep(Duration::from_secs(1)).await;
        assert_eq!(heard.read().await, Some(second), "its silence on pods is no word");
        stop.cancel();
        tasks.join_next().await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn what_is_no_time_is_not_known() {
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::default());
        disk.create_dir_all(Path::new("/r")).unwrap();
        disk.replace(Path::new("/r/api-heard"), b"yesterday").unwrap();
        assert_eq!(Heard::new(disk, "/r".into()).read().await, None);
    }
}
