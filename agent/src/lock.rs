//! One instance per root directory: two agents on one directory would journal over each other and fight for pods.
//!
//! The lock is the kernel's, on an open file, so it ends with the process however that ends. The file stays: removing
//! it would let two processes hold locks on two files of one name.

use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use crate::disk::{Disk, RealDisk};

/// Name of the lock file in the root directory.
const FILE: &str = "pinnace.lock";
/// Mode of the lock file.
const MODE: u32 = 0o640;
/// A process id has at most seven digits.
const MAX_PID_BYTES: u64 = 16;

/// Why this process may not use the root directory.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error(
        "failed to lock root directory {}: in use by {}; stop it or give this one another --root-dir",
        root.display(), holder(*pid)
    )]
    Held {
        /// The directory.
        root: PathBuf,
        /// Who has it, if it said so.
        pid: Option<u32>,
    },
    /// The file could not be made or locked.
    #[error("failed to lock root directory {}", root.display())]
    File {
        /// The directory.
        root: PathBuf,
        /// What the disk said.
        source: io::Error,
    },
}

/// Keeps the root directory until dropped.
#[derive(Debug)]
#[must_use = "the lock ends when this is dropped"]
pub struct InstanceLock {
    _file: File,
}

impl InstanceLock {
    /// Takes the lock at once or says who has it. Makes the directory if it is absent.
    pub fn take(root: &Path) -> Result<Self, LockError> {
        let failed = |source| LockError::File { root: root.to_owned(), source };
        let mut file = open(root).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(LockError::Held { root: root.to_owned(), pid: written_pid(&mut file) });
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        write_pid(&mut file).map_err(failed)?;
        Ok(Self { _file: file })
    }
}

fn open(root: &Path) -> io::Result<File> {
    RealDisk.create_dir_all(root)?;
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(MODE);
    let file = options.custom_flags(OFlag::O_NOFOLLOW.bits()).open(root.join(FILE))?;
    file.set_permissions(Permissions::from_mode(MODE))?;
    Ok(file)
}

/// A full disk does not matter: the lock holds without the number, which is for the other's message only.
fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    match file.write_all(std::process::id().to_string().as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::StorageFull => Ok(()),
        written => written,
    }
}

fn written_pid(file: &mut File) -> Option<u32> {
    file.rewind().ok()?;
    let mut text = String::new();
    file.take(MAX_PID_BYTES).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

#[cfg(test)]
mod tests {
    use std::io::BufRead;
    use std::process::{Command, Stdio};

    use super::*;

    /// Set for the copy of this test program that holds the lock; its value is the root directory.
    const HOLD: &str = "PINNACE_TEST_HOLD_LOCK";

    /// Not a test by itself: what the other process runs, which is this program again.
    #[test]
    fn hold_until_killed() {
        let Some(root) = std::env::var_os(HOLD) else { return };
        let _lock = InstanceLock::take(Path::new(&root)).unwrap();
        println!("\nheld");
        let _end_of_input = io::stdin().read(&mut [0]);
    }

    fn other_process(root: &Path) -> std::process::Child {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "lock::tests::hold_until_killed", "--nocapture"])
            .env(HOLD, root)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = io::BufReader::new(child.stdout.as_mut().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap() == "held"), "the other process takes the lock");
        child
    }

    #[test]
    fn b20_a_second_process_is_refused_at_once_and_told_who_has_it() {
        let root = tempfile::tempdir().unwrap();
        let mut other = other_process(root.path());
        let refused = InstanceLock::take(root.path()).unwrap_err();
        let LockError::Held { pid, .. } = &refused else { panic!("{refused}") };
        assert_eq!(*pid, Some(other.id()));
        assert!(refused.to_string().contains(&format!("in use by process {}", other.id())), "{refused}");
        other.kill().unwrap();
        other.wait().unwrap();
        drop(InstanceLock::take(root.path()).unwrap());
    }

    #[test]
    fn b20_the_lock_is_free_again_after_a_drop() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("made/for/it");
        let first = InstanceLock::take(&dir).unwrap();
        assert!(matches!(InstanceLock::take(&dir), Err(LockError::Held { pid: Some(_), .. })));
        drop(first);
        let _second = InstanceLock::take(&dir).unwrap();
        let mode = std::fs::metadata(dir.join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, MODE);
    }

    #[test]
    fn a_root_that_cannot_be_is_named() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("file"), "").unwrap();
        let error = InstanceLock::take(&root.path().join("file")).unwrap_err();
        assert!(matches!(error, LockError::File { .. }) && error.to_string().contains("/file"), "{error}");
    }
}
