//! The disk of this machine.
//!
//! Modes do not depend on the umask. A file that was replaced or appended with `sync` is there after a power cut,
//! name included. One writer per file: the temporary name of a replacement is fixed, so that none is left behind twice.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use super::contents::{
    Attributes, Change, Contents, FileKind, HugePages, Mounted, SubPath, SubPathError, Tmpfs,
};
use super::{Disk, beneath, group, host_path, sub_path, tmpfs, tree};

/// Mode of the agent's own directories.
const DIRECTORY_MODE: u32 = 0o750;
/// Mode of a file that a container writes, whatever its user.
const PUBLIC_MODE: u32 = 0o666;
/// Mode of a file that every user of a container may read.
const READABLE_MODE: u32 = 0o644;
/// Mode of the agent's own files.
const FILE_MODE: u32 = 0o640;

/// The disk of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        if path.is_dir() {
            return Ok(());
        }
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            self.create_dir_all(parent)?;
        }
        match DirBuilder::new().mode(DIRECTORY_MODE).create(path) {
            Ok(()) => {
                fs::set_permissions(path, Permissions::from_mode(DIRECTORY_MODE))?;
                sync_directory_of(path)
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let file = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(ErrorKind::InvalidInput, "not a regular file"));
        }
        let mut bytes = Vec::new();
        file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit {
            return Err(io::Error::new(ErrorKind::FileTooLarge, format!("more than {limit} bytes")));
        }
        Ok(bytes)
    }

    fn append(&self, path: &Path, bytes: &[u8], sync: bool) -> io::Result<()> {
        let mut file = match open_own(path, OpenOptions::new().append(true)) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let file = open_own(path, OpenOptions::new().append(true).create_new(true))?;
                file.set_permissions(Permissions::from_mode(FILE_MODE))?;
                sync_directory_of(path)?;
                file
            }
            opened => opened?,
        };
        file.write_all(bytes)?;
        if sync { file.sync_data() } else { Ok(()) }
    }

    fn create_public(&self, path: &Path) -> io::Result<()> {
        match open_own(path, OpenOptions::new().append(true).create_new(true)) {
            Ok(file) => file.set_permissions(Permissions::from_mode(PUBLIC_MODE)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn overwrite(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = open_own(path, OpenOptions::new().write(true).create(true).truncate(true))?;
        file.set_permissions(Permissions::from_mode(READABLE_MODE))?;
        file.write_all(bytes)
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let temporary = beside(path)?;
        // What a crash left there may be anything, so it is not written into.
        self.remove_file(&temporary)?;
        let written = write_new(&temporary, bytes).and_then(|()| fs::rename(&temporary, path));
        if let Err(error) = written {
            let _the_first_error_counts = self.remove_file(&temporary);
            return Err(error);
        }
        sync_directory_of(path)
    }

    fn truncate(&self, path: &Path, length: u64) -> io::Result<()> {
        let file = open_own(path, OpenOptions::new().write(true))?;
        file.set_len(length)?;
        file.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        if from.parent() != to.parent() {
            return Err(io::Error::new(ErrorKind::InvalidInput, "rename leaves the directory"));
        }
        fs::rename(from, to)?;
        sync_directory_of(to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn remove_tree(&self, path: &Path) -> io::Result<()> {
        tree::remove(path)
    }

    fn symlink(&self, target: &Path, link: &Path) -> io::Result<()> {
        if fs::symlink_metadata(link).is_ok_and(|known| !known.is_symlink()) {
            return Err(io::Error::new(ErrorKind::AlreadyExists, "not a symbolic link"));
        }
        let temporary = beside(link)?;
        self.remove_file(&temporary)?;
        std::os::unix::fs::symlink(target, &temporary)?;
        fs::rename(&temporary, link)?;
        sync_directory_of(link)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let entries = match fs::read_dir(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<PathBuf>>>()?;
        paths.sort_unstable();
        Ok(paths)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        match fs::remove_dir(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn contents(&self, root: &Path) -> io::Result<Contents> {
        beneath::read(root)
    }

    fn read_beneath(&self, root: &Path, inner: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
        beneath::read_file(root, inner, limit)
    }

    fn change(&self, root: &Path, change: &Change) -> io::Result<()> {
        beneath::change(root, change)
    }

    fn mount_tmpfs(&self, path: &Path, tmpfs: &Tmpfs) -> io::Result<()> {
        tmpfs::mount(path, tmpfs)
    }

    fn mount_huge_pages(&self, path: &Path, pages: HugePages, top: &Attributes) -> io::Result<()> {
        tmpfs::mount_huge_pages(path, pages, top)
    }

    fn bind_sub_path(&self, sub_path: &SubPath) -> Result<(), SubPathError> {
        sub_path::bind(sub_path)
    }

    fn unmount(&self, path: &Path) -> io::Result<()> {
        tmpfs::unmount(path)
    }

    fn mounts(&self, path: &Path) -> io::Result<Vec<Mounted>> {
        tmpfs::mounts(path)
    }

    fn mounted(&self, path: &Path) -> io::Result<Option<String>> {
        tmpfs::mounted(path)
    }

    fn mount_of(&self, path: &Path) -> io::Result<Mounted> {
        tmpfs::mount_of(path)
    }

    fn give_to_group(&self, root: &Path, gid: u32) -> io::Result<()> {
        group::give(root, gid)
    }

    fn kind(&self, path: &Path) -> io::Result<Option<FileKind>> {
        host_path::kind(path)
    }

    fn create_host_dir(&self, path: &Path) -> io::Result<()> {
        host_path::create_dir(path)
    }

    fn create_host_file(&self, path: &Path) -> io::Result<()> {
        host_path::create_file(path)
    }
}

/// Opens one of the agent's own files, which are never links.
fn open_own(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    options.mode(FILE_MODE).custom_flags(OFlag::O_NOFOLLOW.bits()).open(path)
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = open_own(path, OpenOptions::new().write(true).create_new(true))?;
    file.set_permissions(Permissions::from_mode(FILE_MODE))?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// The temporary name for what will be `path`: hidden, in the same directory.
fn beside(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(ErrorKind::InvalidInput)?;
    let mut temporary = OsString::from(".");
    temporary.push(name);
    temporary.push(".pinnace-tmp");
    Ok(path.with_file_name(temporary))
}

fn sync_directory_of(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn files_are_made_read_cut_and_replaced() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("log");
        RealDisk.append(&file, b"one ", true).unwrap();
        RealDisk.append(&file, b"two", false).unwrap();
        assert_eq!(RealDisk.read(&file, 7).unwrap(), b"one two");
        assert_eq!(RealDisk.read(&file, 6).unwrap_err().kind(), ErrorKind::FileTooLarge);
        RealDisk.truncate(&file, 3).unwrap();
        RealDisk.rename(&file, &root.path().join("moved")).unwrap();
        fs::write(root.path().join(".moved.pinnace-tmp"), "left by a crash").unwrap();
        assert_eq!(RealDisk.read(&root.path().join("moved"), 9).unwrap(), b"one");
        RealDisk.replace(&root.path().join("moved"), b"new").unwrap();
        assert_eq!(RealDisk.list(root.path()).unwrap(), [root.path().join("moved")]);
        assert_eq!(RealDisk.read(&root.path().join("moved"), 9).unwrap(), b"new");
        RealDisk.remove_file(&root.path().join("moved")).unwrap();
        RealDisk.remove_file(&root.path().join("moved")).unwrap();
        assert_eq!(RealDisk.read(&file, 6).unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn modes_do_not_depend_on_the_umask() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        // The umask belongs to the process, so this holds whichever tests run beside it.
        let before = nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
        RealDisk.create_dir_all(&path("a/b")).unwrap();
        RealDisk.append(&path("appended"), b"", false).unwrap();
        RealDisk.replace(&path("replaced"), b"").unwrap();
        nix::sys::stat::umask(before);
        assert_eq!((mode(&path("a")), mode(&path("a/b"))), (0o750, 0o750));
        assert_eq!((mode(&path("appended")), mode(&path("replaced"))), (0o640, 0o640));
    }

    #[test]
    fn what_exists_as_something_else_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        fs::write(path("file"), "x").unwrap();
        symlink(path("file"), path("link")).unwrap();
        assert!(RealDisk.create_dir_all(&path("file")).is_err());
        assert!(RealDisk.create_dir_all(&path("file/below")).is_err());
        assert!(RealDisk.append(&path("link"), b"y", true).is_err(), "own files are never links");
        assert!(RealDisk.truncate(&path("link"), 0).is_err());
        assert!(RealDisk.symlink(root.path(), &path("file")).is_err());
        assert!(RealDisk.read(root.path(), 1).is_err());
        assert!(RealDisk.rename(&path("file"), &path("elsewhere/file")).is_err());
        assert_eq!(fs::read(path("file")).unwrap(), b"x");
    }

    #[test]
    fn a_pipe_is_refused_and_not_waited_for() {
        let root = tempfile::tempdir().unwrap();
        let pipe = root.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
        assert_eq!(RealDisk.read(&pipe, 1).unwrap_err().kind(), ErrorKind::InvalidInput);
    }

    #[test]
    fn links_are_replaced_in_one_step() {
        let root = tempfile::tempdir().unwrap();
        let link = root.path().join("link");
        for target in ["first", "second"] {
            RealDisk.symlink(Path::new(target), &link).unwrap();
            assert_eq!(fs::read_link(&link).unwrap(), Path::new(target));
        }
        assert_eq!(RealDisk.list(root.path()).unwrap(), [link]);
        assert!(RealDisk.list(&root.path().join("absent")).unwrap().is_empty());
    }

    #[test]
    fn a_failed_replacement_leaves_the_old_file_and_no_other() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("is-a-directory");
        fs::create_dir(&target).unwrap();
        assert!(RealDisk.replace(&target, b"new").is_err());
        assert_eq!(RealDisk.list(root.path()).unwrap(), [target]);
    }
}
