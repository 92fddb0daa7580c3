//! The node's own credentials: files that an administrator put there, read again after five minutes at the earliest.
//! Woken by look-ups; writes nothing.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Keyring;
use super::decode::{Format, logins};
use crate::disk::Disk;

/// How long what was read is used (`pkg/credentialprovider/provider.go`).
const KEPT: Duration = Duration::from_secs(5 * 60);
/// Longest file.
const MAX_FILE: u64 = 1 << 20;

/// Files in the order in which they are looked for; the first that can be read is the one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places(Vec<(PathBuf, Format)>);

impl Places {
    /// The kubelet's places: `config.json`, then the older `.dockercfg`.
    #[must_use]
    pub fn new(root_dir: &Path, working_dir: &Path, home: Option<&Path>) -> Self {
        let home = home.unwrap_or(Path::new("/"));
        let new = [root_dir, working_dir, &home.join(".docker"), Path::new("/.docker")]
            .map(|dir| (dir.join("config.json"), Format::ConfigJson));
        let old = [root_dir, working_dir, home, Path::new("/")]
            .map(|dir| (dir.join(".dockercfg"), Format::Dockercfg));
        Self(new.into_iter().chain(old).collect())
    }
}

/// Reads the files.
#[derive(Debug)]
pub struct NodeFiles {
    disk: Arc<dyn Disk>,
    places: Places,
    read: Mutex<Option<(Instant, Arc<Keyring>)>>,
}

impl NodeFiles {
    /// A reader of these places.
    #[must_use]
    pub fn new(disk: Arc<dyn Disk>, places: Places) -> Self {
        Self { disk, places, read: Mutex::default() }
    }

    /// The node's keyring, empty if there is no file.
    pub async fn keyring(&self) -> Arc<Keyring> {
        let now = Instant::now();
        if let Some((at, keyring)) = self.read.lock().unwrap_or_else(PoisonError::into_inner).as_ref()
            && now.saturating_duration_since(*at) < KEPT
        {
            return Arc::clone(keyring);
        }
        let (disk, places) = (Arc::clone(&self.disk), self.places.clone());
        let read = tokio::task::spawn_blocking(move || read(disk.as_ref(), &places)).await;
        let keyring = Arc::new(read.unwrap_or_default());
        *self.read.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, Arc::clone(&keyring)));
        keyring
    }
}

fn read(disk: &dyn Disk, places: &Places) -> Keyring {
    let mut keyring = Keyring::default();
    for (path, format) in &places.0 {
        let text = match disk.read(path, MAX_FILE) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "failed to read the node's credentials");
                continue;
            }
        };
        match logins(&text, *format) {
            Ok(found) => {
                keyring.add(found, None);
                return keyring;
            }
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "the node's credentials cannot be used");
            }
        }
    }
    keyring
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::MemoryDisk;

    fn files(disk: &Arc<MemoryDisk>) -> NodeFiles {
        let places = Places::new(Path::new("/root-dir"), Path::new("/work"), Some(Path::new("/home/h")));
        NodeFiles::new(Arc::clone(disk) as Arc<dyn Disk>, places)
    }

    async fn user(files: &NodeFiles) -> Option<String> {
        let found = files.keyring().await.lookup("reg.x/a");
        found.first().map(|credential| credential.login.username.clone())
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_file_that_can_be_used_counts_and_is_read_again_after_five_minutes() {
        let disk = Arc::new(MemoryDisk::default());
        let files = files(&disk);
        assert_eq!(user(&files).await, None);
        disk.put(Path::new("/.dockercfg"), br#"{"reg.x": {"username": "old", "password": "p"}}"#);
        disk.put(Path::new("/root-dir/config.json"), b"malformed");
        tokio::time::advance(KEPT - Duration::from_secs(1)).await;
        assert_eq!(user(&files).await, None);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(user(&files).await.as_deref(), Some("old"));
        disk.put(
            Path::new("/home/h/.docker/config.json"),
            br#"{"auths": {"reg.x": {"username": "new", "password": "p"}}}"#,
        );
        tokio::time::advance(KEPT).await;
        assert_eq!(user(&files).await.as_deref(), Some("new"));
    }
}
