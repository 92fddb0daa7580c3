//! The Unix socket of the admin server: made so that only root reaches it, and never taken from a live agent.

use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};

/// How long a live agent has to take the connection that asks whether it is there.
const ALIVE: Duration = Duration::from_secs(1);

/// Why the socket cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Another agent answers there.
    #[error("an agent is already running at {}", .0.display())]
    InUse(PathBuf),
    /// Something else has the path.
    #[error("{} exists and is not a socket: remove it, or name another with --admin-socket", .0.display())]
    NotASocket(PathBuf),
    /// An operation failed.
    #[error("failed to {verb} {}", .path.display())]
    Failed {
        /// What was tried.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

impl SocketError {
    /// Whether another agent holds the socket.
    #[must_use]
    pub fn is_in_use(&self) -> bool {
        matches!(self, Self::InUse(_))
    }
}

/// A socket that listens, and its file.
#[derive(Debug)]
pub struct Socket {
    /// The listener.
    pub listener: UnixListener,
    path: PathBuf,
    inode: u64,
}

impl Socket {
    /// Listens at `path`: directory 0750 if it has to be made, socket 0600. A file that a dead process left is
    /// replaced.
    pub async fn bind(path: &Path) -> Result<Self, SocketError> {
        let failed = |verb, source| SocketError::Failed { verb, path: path.to_owned(), source };
        if let Some(directory) = path.parent() {
            let mut builder = std::fs::DirBuilder::new();
            builder.recursive(true).mode(0o750).create(directory).map_err(|source| SocketError::Failed {
                verb: "create the directory",
                path: directory.to_owned(),
                source,
            })?;
        }
        remove_dead(path).await?;
        let listener = UnixListener::bind(path).map_err(|source| failed("listen on", source))?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
            .map_err(|source| failed("restrict access to", source))?;
        let inode = std::fs::symlink_metadata(path).map_err(|source| failed("look at", source))?.ino();
        Ok(Self { listener, path: path.to_owned(), inode })
    }

    /// Removes the file, unless it is another's by now.
    pub fn remove(self) {
        if std::fs::symlink_metadata(&self.path).is_ok_and(|metadata| metadata.ino() == self.inode)
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::debug!(%error, path = %self.path.display(), "failed to remove the admin socket");
        }
    }
}

async fn remove_dead(path: &Path) -> Result<(), SocketError> {
    let failed = |verb, source| SocketError::Failed { verb, path: path.to_owned(), source };
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if metadata.file_type().is_socket() => {}
        Ok(_) => return Err(SocketError::NotASocket(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("look at", error)),
    }
    match tokio::time::timeout(ALIVE, UnixStream::connect(path)).await {
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(|source| failed("remove the dead socket", source))
        }
        Ok(Err(error)) => Err(failed("connect to", error)),
        // Taken, or its queue is full: somebody holds it.
        Ok(Ok(_)) | Err(_) => Err(SocketError::InUse(path.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a34_the_socket_is_for_root_alone_and_goes_with_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run/pinnace.sock");
        let socket = Socket::bind(&path).await.unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()) & !0o750, 0);
        socket.remove();
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_dead_socket_is_replaced_and_a_live_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pinnace.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let first = Socket::bind(&path).await.unwrap();
        let error = Socket::bind(&path).await.unwrap_err();
        assert!(error.is_in_use());
        assert_eq!(error.to_string(), format!("an agent is already running at {}", path.display()));
        drop(first);
        Socket::bind(&path).await.unwrap();
    }

    #[tokio::test]
    async fn another_file_is_never_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pinnace.sock");
        std::fs::write(&path, "keep").unwrap();
        assert!(matches!(Socket::bind(&path).await, Err(SocketError::NotASocket(_))));
        assert_eq!(std::fs::read(&path).unwrap(), b"keep");
        let under_file = Socket::bind(&path.join("x.sock")).await.unwrap_err();
        assert!(under_file.to_string().starts_with("failed to create the directory"), "{under_file}");
    }

    #[tokio::test]
    async fn the_file_of_a_successor_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pinnace.sock");
        let first = Socket::bind(&path).await.unwrap();
        std::fs::rename(&path, dir.path().join("moved")).unwrap();
        let _second = Socket::bind(&path).await.unwrap();
        first.remove();
        assert!(path.exists());
    }
}
