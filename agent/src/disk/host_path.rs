//! Paths of the host that a pod's spec names. They belong to the machine's owner: links are followed, and what is made
//! here is never removed.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use super::contents::FileKind;

/// Modes of what is made (`pkg/volume/hostpath/host_path.go`).
const DIRECTORY_MODE: u32 = 0o755;
const FILE_MODE: u32 = 0o644;

/// See [`super::Disk::kind`].
pub(super) fn kind(path: &Path) -> io::Result<Option<FileKind>> {
    let metadata = match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        metadata => metadata?,
    };
    let kind = metadata.file_type();
    Ok(Some(match kind {
        _ if kind.is_dir() => FileKind::Directory,
        _ if kind.is_file() => FileKind::File,
        _ if kind.is_socket() => FileKind::Socket,
        _ if kind.is_char_device() => FileKind::CharDevice,
        _ if kind.is_block_device() => FileKind::BlockDevice,
        _ => FileKind::Other,
    }))
}

/// See [`super::Disk::create_host_dir`]. Parents that were there keep their modes.
pub(super) fn create_dir(path: &Path) -> io::Result<()> {
    let missing: Vec<PathBuf> =
        path.ancestors().take_while(|path| !path.is_dir()).map(Path::to_owned).collect();
    for path in missing.iter().rev().filter(|path| !path.as_os_str().is_empty()) {
        match DirBuilder::new().mode(DIRECTORY_MODE).create(path) {
            Ok(()) => fs::set_permissions(path, Permissions::from_mode(DIRECTORY_MODE))?,
            Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// See [`super::Disk::create_host_file`].
pub(super) fn create_file(path: &Path) -> io::Result<()> {
    let mut new = OpenOptions::new();
    new.write(true).create_new(true).mode(FILE_MODE).custom_flags(OFlag::O_NONBLOCK.bits());
    match new.open(path) {
        Ok(file) => file.set_permissions(Permissions::from_mode(FILE_MODE)),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn kinds_are_told_apart_behind_links() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        fs::write(path("file"), "x").unwrap();
        let _socket = UnixListener::bind(path("socket")).unwrap();
        nix::unistd::mkfifo(&path("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        symlink("file", path("link")).unwrap();
        symlink("nowhere", path("dangling")).unwrap();
        for (name, expected) in [
            ("file", Some(FileKind::File)),
            ("link", Some(FileKind::File)),
            ("socket", Some(FileKind::Socket)),
            ("pipe", Some(FileKind::Other)),
            ("dangling", None),
            ("absent", None),
            (".", Some(FileKind::Directory)),
            ("/dev/null", Some(FileKind::CharDevice)),
        ] {
            assert_eq!(kind(&path(name)).unwrap(), expected, "{name}");
        }
    }

    #[test]
    fn what_is_made_has_the_kubelets_modes_and_what_was_there_its_own() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        let mode = |name: &str| fs::metadata(path(name)).unwrap().permissions().mode() & 0o7777;
        fs::set_permissions(root.path(), Permissions::from_mode(0o700)).unwrap();
        create_dir(&path("a/b")).unwrap();
        create_dir(&path("a/b")).unwrap();
        create_file(&path("a/f")).unwrap();
        assert_eq!((mode("."), mode("a"), mode("a/b"), mode("a/f")), (0o700, 0o755, 0o755, 0o644));
        fs::write(path("a/f"), "kept").unwrap();
        create_file(&path("a/f")).unwrap();
        assert_eq!(fs::read(path("a/f")).unwrap(), b"kept");
        assert!(create_dir(&path("a/f/g")).is_err());
        assert!(create_file(&path("absent/f")).is_err());
    }
}
