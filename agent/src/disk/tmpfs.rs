//! Mounting file systems in memory, unmounting whatever it is, and finding mounts.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::mount::{MntFlags, MsFlags, mount as nix_mount, umount2};
use nix::sys::stat::{Mode, fchmod};
use nix::sys::statfs::{HUGETLBFS_MAGIC, TMPFS_MAGIC, fstatfs};

use super::contents::{Attributes, HugePages, Mounted, Tmpfs};
use super::mounts;
use super::tree::DIRECTORY;

/// Where the kernel tells of the mounts of this process.
const MOUNTINFO: &str = "/proc/self/mountinfo";

/// Mounts a file system in memory over `path`. Its pages are kept out of swap from Linux 6.4 on, where the option
/// came to be; before that the kernel refuses the word.
pub(super) fn mount(path: &Path, tmpfs: &Tmpfs) -> io::Result<()> {
    let options = options(tmpfs);
    let flags = if tmpfs.hardened { MsFlags::MS_NOSUID | MsFlags::MS_NODEV } else { MsFlags::empty() };
    match mount_with(path, flags, &format!("{options},noswap")) {
        Err(Errno::EINVAL) => Ok(mount_with(path, flags, &options)?),
        result => Ok(result?),
    }
}

fn mount_with(path: &Path, flags: MsFlags, options: &str) -> nix::Result<()> {
    nix_mount(Some("tmpfs"), path, Some("tmpfs"), flags, Some(options))
}

fn options(Tmpfs { size, top, hardened: _ }: &Tmpfs) -> String {
    let group = top.gid.map(|gid| format!(",gid={gid}")).unwrap_or_default();
    format!("size={size},mode={:o}{group}", top.mode)
}

/// Mounts a file system in huge pages over `path`. Its options know neither set-gid nor a limit that is no whole number
/// of pages.
pub(super) fn mount_huge_pages(path: &Path, pages: HugePages, top: &Attributes) -> io::Result<()> {
    let options = huge_options(pages, top);
    nix_mount(Some("nodev"), path, Some("hugetlbfs"), MsFlags::empty(), Some(options.as_str()))?;
    let mounted = open(path, DIRECTORY, Mode::empty())?;
    Ok(fchmod(&mounted, Mode::from_bits_truncate(top.mode))?)
}

fn huge_options(HugePages { page, limit }: HugePages, top: &Attributes) -> String {
    let group = top.gid.map(|gid| format!(",gid={gid}")).unwrap_or_default();
    let whole = |limit: u64| limit.div_ceil(page.max(1)).saturating_mul(page);
    let size = limit.map(|limit| format!(",size={}", whole(limit))).unwrap_or_default();
    format!("pagesize={page},mode={:o}{group}{size}", top.mode & 0o777)
}

/// Takes the newest mount off. One that is still in use disappears from the tree at once and ends with its last user;
/// so does what is mounted in it. That must not be told to the places that share what they mount with this one: they
/// would lose it too.
pub(super) fn unmount(path: &Path) -> io::Result<()> {
    match umount2(path, MntFlags::UMOUNT_NOFOLLOW) {
        Err(Errno::EBUSY) => {
            let none = None::<&str>;
            nix_mount(none, path, none, MsFlags::MS_PRIVATE | MsFlags::MS_REC, none)?;
            Ok(umount2(path, MntFlags::UMOUNT_NOFOLLOW | MntFlags::MNT_DETACH)?)
        }
        result => Ok(result?),
    }
}

/// Mount points at or under `path`, named as seen from it.
pub(super) fn mounts(path: &Path) -> io::Result<Vec<Mounted>> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "path has no parent and name"));
    };
    let real = match parent.canonicalize() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        parent => parent?.join(name),
    };
    let found = mounts::under(&std::fs::read(MOUNTINFO)?, &real);
    Ok(found
        .into_iter()
        .map(|mount| Mounted { path: seen_from(&mount.path, &real, path), ..mount })
        .collect())
}

/// Kind of what is mounted on the directory `path` itself, if anything. Of kinds, only those that are looked for are
/// known by name; another is told by its number.
pub(super) fn mounted(path: &Path) -> io::Result<Option<String>> {
    let parent =
        path.parent().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "path has no parent"))?;
    let (within, above) = match (place(path), place(parent)) {
        (Err(error), _) | (_, Err(error)) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        (within, above) => (within?, above?),
    };
    if mount_id(&within)? == mount_id(&above)? {
        return Ok(None);
    }
    Ok(Some(match fstatfs(&within)?.filesystem_type() {
        TMPFS_MAGIC => "tmpfs".to_owned(),
        HUGETLBFS_MAGIC => "hugetlbfs".to_owned(),
        other => format!("type {:#x}", other.0),
    }))
}

/// A directory, not opened: nothing of its file system is asked.
fn place(path: &Path) -> io::Result<File> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
    OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)
}

/// Number of the mount that something open lies on.
fn mount_id(file: &File) -> io::Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_raw_fd()))?;
    let line = text.lines().find_map(|line| line.strip_prefix("mnt_id:"));
    let id = line.and_then(|id| id.trim().parse().ok());
    id.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no mnt_id in fdinfo"))
}

/// The mount that `path` lies on.
pub(super) fn mount_of(path: &Path) -> io::Result<Mounted> {
    let found = mounts::of(&std::fs::read(MOUNTINFO)?, path);
    found.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no mount leads to the path"))
}

fn seen_from(mount: &Path, real: &Path, path: &Path) -> PathBuf {
    match mount.strip_prefix(real) {
        Ok(inner) if inner.as_os_str().is_empty() => path.to_owned(),
        Ok(inner) => path.join(inner),
        Err(_) => mount.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_whole_pages() {
        let top = Attributes { mode: 0o2775, uid: None, gid: Some(7) };
        let options = |limit| huge_options(HugePages { page: 2 << 20, limit }, &top);
        assert_eq!(options(None), "pagesize=2097152,mode=775,gid=7");
        assert_eq!(options(Some(1)), "pagesize=2097152,mode=775,gid=7,size=2097152");
        assert_eq!(options(Some(4 << 20)), "pagesize=2097152,mode=775,gid=7,size=4194304");
    }

    #[test]
    fn what_is_mounted_on_a_directory_itself_is_told() {
        let mounted = |path: &str| mounted(Path::new(path));
        assert_eq!(mounted("/proc").unwrap().as_deref(), Some("type 0x9fa0"));
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        std::fs::create_dir(path("plain")).unwrap();
        std::os::unix::fs::symlink("/proc", path("link")).unwrap();
        assert_eq!(mounted(&path("plain")).unwrap(), None);
        assert_eq!(mounted(&path("missing/of")).unwrap(), None);
        // Never what a link leads to.
        assert!(mounted(&path("link")).is_err() && mounted("/").is_err());
        if nix::unistd::geteuid().is_root() {
            let top = Attributes { mode: 0o700, uid: None, gid: None };
            mount(Path::new(&path("plain")), &Tmpfs { size: 1 << 20, top, hardened: true }).unwrap();
            assert_eq!(mounted(&path("plain")).unwrap().as_deref(), Some("tmpfs"));
            unmount(Path::new(&path("plain"))).unwrap();
            assert_eq!(mounted(&path("plain")).unwrap(), None);
        }
    }

    #[test]
    fn options_are_the_kernels() {
        let top = Attributes { mode: 0o2755, uid: None, gid: Some(7) };
        assert_eq!(options(&Tmpfs { size: 1024, top, hardened: true }), "size=1024,mode=2755,gid=7");
    }
}
