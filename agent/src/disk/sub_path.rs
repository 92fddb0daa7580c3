//! Showing a part of a volume to a container, whatever the container's neighbours do to the volume meanwhile.
//!
//! The part is found one name at a time, each relative to a directory that is held open, and no link is ever followed
//! by the kernel: a link is read, and its target goes the same way within the volume. What is found is held open too,
//! and that very thing is mounted, through its descriptor and not by its name. Whoever exchanges a directory for a
//! link in between may change what of the volume is shown, and nothing else (CVE-2017-1002101, CVE-2021-25741).
//!
//! `RESOLVE_BENEATH` would do all this in one call; it refuses links with an absolute target that lies in the volume,
//! which the kubelet honours, and directories that are missing must be made on the way.

use std::ffi::{CString, OsStr, OsString};
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat, readlink, readlinkat};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstat, mkdirat};
use nix::unistd::geteuid;

use super::contents::{SubPath, SubPathError};
use super::tmpfs;
use super::tree::open_directory;

/// Holds a thing without opening it: a pipe is not waited for, a device not touched.
const HOLD: OFlag = OFlag::O_PATH.union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);
/// Links that may be met, as many as the kernel follows (`MAXSYMLINKS`).
const MAX_LINKS: usize = 40;
/// Names that may be gone through: as many as a path and its links can have.
const MAX_STEPS: usize = MAX_LINKS * 2048;
/// Of a volume's mode, what a directory made in it gets.
const MODE: u32 = 0o2777;
/// Mode of the directories that lead to the targets, and of the targets before they are mounted over.
const TARGET_MODE: u32 = 0o750;

/// See [`super::Disk::bind_sub_path`].
pub(super) fn bind(sub_path: &SubPath) -> Result<(), SubPathError> {
    let held = hold(&sub_path.volume, &sub_path.inner)?;
    bind_held(&held, &sub_path.target).map_err(SubPathError::Prepare)
}

/// One step of the way.
#[derive(Debug)]
enum Step {
    Up,
    Down {
        name: CString,
        /// From a link, not from the spec: what is missing there is not made.
        linked: bool,
    },
}

#[derive(Debug)]
struct Walk {
    /// Where the volume really lies, for links with an absolute target.
    volume: PathBuf,
    /// Directories from the volume's to the one at work.
    above: Vec<OwnedFd>,
    /// The next step last.
    ahead: Vec<Step>,
    links: usize,
}

/// Holds what is at `inner` within the volume; makes directories that are missing.
fn hold(volume: &Path, inner: &Path) -> Result<OwnedFd, SubPathError> {
    let mut walk = Walk::new(volume, inner).map_err(SubPathError::Prepare)?;
    for _ in 0..MAX_STEPS {
        let Some(step) = walk.ahead.pop() else { return walk.above.pop().ok_or_else(escapes) };
        if let Some(other) = walk.take(step)? {
            return Ok(other);
        }
    }
    Err(SubPathError::Prepare(Errno::ELOOP.into()))
}

impl Walk {
    fn new(volume: &Path, inner: &Path) -> io::Result<Self> {
        // What leads to the volume is the node's own, links included.
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let top = open(volume, flags, Mode::empty())?;
        let volume = readlink(&descriptor(&top))?.into();
        let mut walk = Self { volume, above: vec![top], ahead: Vec::new(), links: 0 };
        walk.queue(inner, false)?;
        Ok(walk)
    }

    /// Puts a path before what is ahead.
    fn queue(&mut self, path: &Path, linked: bool) -> io::Result<()> {
        let inner = match path.strip_prefix(&self.volume) {
            Ok(inner) if linked => {
                self.above.truncate(1);
                inner
            }
            _ => path,
        };
        let mut steps = Vec::new();
        for component in inner.components() {
            steps.push(match component {
                Component::Normal(name) => Step::Down { name: CString::new(name.as_bytes())?, linked },
                Component::ParentDir if linked => Step::Up,
                Component::CurDir => continue,
                Component::ParentDir | Component::RootDir | Component::Prefix(_) => return Err(outside()),
            });
        }
        self.ahead.extend(steps.into_iter().rev());
        Ok(())
    }

    /// Takes one step. What is no directory ends the way and is returned.
    fn take(&mut self, step: Step) -> Result<Option<OwnedFd>, SubPathError> {
        let Step::Down { name, linked } = step else {
            self.above.pop();
            return if self.above.is_empty() { Err(escapes()) } else { Ok(None) };
        };
        let here = self.above.last().ok_or_else(escapes)?;
        let found = match openat(here, name.as_c_str(), HOLD, Mode::empty()) {
            Err(Errno::ENOENT) if !linked => self.make(&name).map_err(SubPathError::Make)?,
            found => found.map_err(prepare)?,
        };
        match kind(&fstat(&found).map_err(prepare)?) {
            SFlag::S_IFDIR => self.above.push(found),
            SFlag::S_IFLNK => self.follow(&found).map_err(SubPathError::Prepare)?,
            _ if self.ahead.is_empty() => return Ok(Some(found)),
            _ => return Err(prepare(Errno::ENOTDIR)),
        }
        Ok(None)
    }

    fn follow(&mut self, link: &OwnedFd) -> io::Result<()> {
        self.links = self.links.saturating_add(1);
        if self.links > MAX_LINKS {
            return Err(Errno::ELOOP.into());
        }
        let target: OsString = readlinkat(link, OsStr::new(""))?;
        self.queue(Path::new(&target), true)
    }

    /// Makes a directory with the volume's mode; its group is the volume's where that has setgid. One that somebody
    /// else put there in the meantime stays as it is.
    fn make(&self, name: &CString) -> io::Result<OwnedFd> {
        let (Some(volume), Some(here)) = (self.above.first(), self.above.last()) else {
            return Err(outside());
        };
        let mode = Mode::from_bits_truncate(fstat(volume)?.st_mode & MODE);
        match mkdirat(here, name.as_c_str(), mode) {
            // Taken as it is, whatever it is; never through a link.
            Err(Errno::EEXIST) => return Ok(openat(here, name.as_c_str(), HOLD, Mode::empty())?),
            made => made?,
        }
        let made = open_directory(here, name)?;
        // It may have been exchanged since, by somebody who is not the agent.
        if fstat(&made)?.st_uid == geteuid().as_raw() {
            fchmod(&made, mode)?;
        }
        Ok(made)
    }
}

/// Mounts what is held. One that an earlier instance left is used if it is the same thing, and else replaced.
fn bind_held(held: &OwnedFd, target: &Path) -> io::Result<()> {
    let wanted = fstat(held)?;
    if is_mounted(target)? {
        let there = fs::symlink_metadata(target)?;
        if (there.dev(), there.ino()) == (wanted.st_dev, wanted.st_ino) {
            return Ok(());
        }
    }
    while is_mounted(target)? {
        tmpfs::unmount(target)?;
    }
    make_target(target, kind(&wanted) == SFlag::S_IFDIR)?;
    let none = None::<&str>;
    Ok(mount(Some(&descriptor(held)), target, none, MsFlags::MS_BIND, none)?)
}

fn is_mounted(target: &Path) -> io::Result<bool> {
    Ok(tmpfs::mounts(target)?.iter().any(|mount| mount.path == target))
}

/// An empty directory or file to mount over; a file does for everything but a directory.
fn make_target(target: &Path, directory: bool) -> io::Result<()> {
    let parent = target.parent().ok_or(ErrorKind::InvalidInput)?;
    DirBuilder::new().recursive(true).mode(TARGET_MODE).create(parent)?;
    match fs::symlink_metadata(target) {
        Ok(there) if there.is_dir() && directory => return Ok(()),
        Ok(there) if there.is_dir() => fs::remove_dir(target)?,
        Ok(_) => fs::remove_file(target)?,
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    if directory {
        return DirBuilder::new().mode(TARGET_MODE).create(target);
    }
    let mut file = OpenOptions::new();
    file.write(true).create_new(true).mode(TARGET_MODE).open(target).map(drop)
}

/// A name for an open thing that leads to it wherever it is moved.
fn descriptor(held: &impl AsFd) -> PathBuf {
    format!("/proc/self/fd/{}", held.as_fd().as_raw_fd()).into()
}

fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT
}

fn prepare(error: Errno) -> SubPathError {
    SubPathError::Prepare(error.into())
}

fn escapes() -> SubPathError {
    SubPathError::Prepare(outside())
}

fn outside() -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, "leads out of the volume")
}

#[cfg(test)]
mod tests;
