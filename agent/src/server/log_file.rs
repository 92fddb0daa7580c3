//! Opens container logs: plain files only, and beneath the pod log directory never through a link.
//!
//! A pod may be given that directory to write in. Whatever it plants there, a link or a pipe, must not make the
//! agent show another file, or wait. So each step of the path is opened by itself, from the step before.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};

use nix::fcntl::{OFlag, openat};
use nix::libc;
use nix::sys::stat::Mode;

/// Where a log is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFile {
    path: PathBuf,
    root: Option<PathBuf>,
}

impl LogFile {
    /// A log at a path of the agent's own making: only its last step may not be a link.
    #[must_use]
    pub fn at(path: PathBuf) -> Self {
        Self { path, root: None }
    }

    /// A log that is opened beneath `root`, no step below it being a link.
    #[must_use]
    pub fn beneath(root: PathBuf, path: PathBuf) -> Self {
        Self { path, root: Some(root) }
    }

    /// The path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens it for reading.
    pub fn open(&self) -> io::Result<File> {
        let file = match &self.root {
            Some(root) => {
                let below = self.path.strip_prefix(root).map_err(|_| outside())?;
                File::from(step_by_step(root, below)?)
            }
            None => {
                let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC;
                OpenOptions::new().read(true).custom_flags(flags).open(&self.path)?
            }
        };
        if file.metadata()?.is_file() {
            Ok(file)
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidInput, "the log is not a regular file"))
        }
    }
}

fn outside() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "the log is outside the pod log directory")
}

/// The root itself may be reached through links: it is the administrator's.
fn step_by_step(root: &Path, below: &Path) -> io::Result<OwnedFd> {
    let directory = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut at = nix::fcntl::open(root, directory, Mode::empty())?;
    let mut steps = below.components().peekable();
    while let Some(step) = steps.next() {
        let Component::Normal(name) = step else { return Err(outside()) };
        let flags = match steps.peek() {
            Some(_) => directory | OFlag::O_NOFOLLOW,
            // Not waiting for the other end, should it be a pipe.
            None => OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC,
        };
        at = openat(&at, name, flags, Mode::empty())?;
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::symlink;

    use super::*;

    fn open(root: &Path, path: &str) -> io::Result<String> {
        let mut text = String::new();
        LogFile::beneath(root.to_owned(), root.join(path)).open()?.read_to_string(&mut text)?;
        Ok(text)
    }

    #[test]
    fn a28_no_step_below_the_root_is_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("pods");
        std::fs::create_dir_all(root.join("pod/main")).unwrap();
        std::fs::write(root.join("pod/main/0.log"), "log").unwrap();
        std::fs::write(dir.path().join("secret"), "secret").unwrap();
        assert_eq!(open(&root, "pod/main/0.log").unwrap(), "log");

        symlink(dir.path().join("secret"), root.join("pod/main/1.log")).unwrap();
        symlink(root.join("pod/main/0.log"), root.join("pod/main/2.log")).unwrap();
        symlink(dir.path(), root.join("pod/up")).unwrap();
        symlink("main", root.join("pod/side")).unwrap();
        nix::unistd::mkfifo(&root.join("pod/main/3.log"), Mode::S_IRWXU).unwrap();
        let refused = [
            "pod/main/1.log",
            "pod/main/2.log",
            "pod/up/secret",
            "pod/side/0.log",
            "pod/main/3.log",
            "pod/main",
        ];
        for path in refused {
            assert!(open(&root, path).is_err(), "{path}");
        }
        for path in ["../secret", "pod/../../secret", "/etc/passwd", ""] {
            assert!(open(&root, path).is_err(), "{path}");
        }
    }

    #[test]
    fn the_root_may_be_a_link() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("real")).unwrap();
        std::fs::write(dir.path().join("real/0.log"), "log").unwrap();
        symlink("real", dir.path().join("link")).unwrap();
        assert_eq!(open(&dir.path().join("link"), "0.log").unwrap(), "log");
    }
}
