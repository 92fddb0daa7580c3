//! Which mount points lie at or under a path, from the text of `/proc/self/mountinfo`. Pure.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use super::contents::Mounted;

/// Position of the mount point among the fields of a line (proc_pid_mountinfo(5)).
const MOUNT_POINT: usize = 4;

/// The first mount point that is `path` or lies under it. `path` must be free of symbolic links.
pub(super) fn at_or_under(mountinfo: &[u8], path: &Path) -> Option<PathBuf> {
    mountinfo.split(|byte| *byte == b'\n').filter_map(mount_point).find(|mount| mount.starts_with(path))
}

/// Every mount point that is `path` or lies under it, in the order of mounting. `path` must be free of symbolic links.
pub(super) fn under(mountinfo: &[u8], path: &Path) -> Vec<Mounted> {
    let lines = mountinfo.split(|byte| *byte == b'\n');
    lines.filter_map(mounted).filter(|mount| mount.path.starts_with(path)).collect()
}

fn mounted(line: &[u8]) -> Option<Mounted> {
    // A lone dash ends the optional fields; the type follows.
    let kind = line.split(|byte| *byte == b' ').skip_while(|field| *field != b"-").nth(1)?;
    Some(Mounted { path: mount_point(line)?, kind: String::from_utf8_lossy(kind).into_owned() })
}

fn mount_point(line: &[u8]) -> Option<PathBuf> {
    let field = line.split(|byte| *byte == b' ').nth(MOUNT_POINT)?;
    Some(OsString::from_vec(unescape(field)).into())
}

/// The kernel writes blanks, line feeds and backslashes as three octal digits.
fn unescape(mut field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    while let Some((first, rest)) = field.split_first() {
        let octal =
            if *first == b'\\' { rest.first_chunk::<3>().and_then(|digits| value(*digits)) } else { None };
        match octal {
            Some(byte) => {
                out.push(byte);
                field = rest.get(3..).unwrap_or_default();
            }
            None => {
                out.push(*first);
                field = rest;
            }
        }
    }
    out
}

fn value(digits: [u8; 3]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 8).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SAMPLE: &[u8] = b"24 1 0:22 / / rw,relatime shared:1 - overlay overlay rw\n\
        31 24 0:5 / /var/lib/kubelet/pods/u1/volumes/a\\040b rw - tmpfs tmpfs rw\n\
        32 24 0:6 / /var/lib/kubelet2 rw - tmpfs tmpfs rw\n";

    #[test]
    fn mounts_under_a_path_are_found_by_component() {
        let found = |path: &str| at_or_under(SAMPLE, Path::new(path));
        let volume = PathBuf::from("/var/lib/kubelet/pods/u1/volumes/a b");
        assert_eq!(found("/var/lib/kubelet/pods/u1"), Some(volume.clone()));
        assert_eq!(found("/var/lib/kubelet/pods/u1/volumes/a b"), Some(volume));
        assert_eq!(found("/var/lib/kubelet/pods/u"), None);
        assert_eq!(found("/var/lib/kubelet/pods/u1/volumes/a b/c"), None);
        let of_pod = under(SAMPLE, Path::new("/var/lib/kubelet"));
        let volume = "/var/lib/kubelet/pods/u1/volumes/a b".into();
        assert_eq!(of_pod, [Mounted { path: volume, kind: "tmpfs".into() }]);
        let kinds: Vec<_> = under(SAMPLE, Path::new("/")).into_iter().map(|mount| mount.kind).collect();
        assert_eq!(kinds, ["overlay", "tmpfs", "tmpfs"]);
    }

    proptest! {
        #[test]
        fn any_text_is_survived_and_escapes_are_undone(name in prop::collection::vec(1..=255_u8, 0..20)) {
            let mut line = b"1 2 3:4 / /m/".to_vec();
            for byte in &name {
                match byte {
                    b' ' | b'\t' | b'\n' | b'\\' => line.extend(format!("\\{byte:03o}").bytes()),
                    _ => line.push(*byte),
                }
            }
            line.extend_from_slice(b" rw - tmpfs tmpfs rw");
            let mut expected = b"/m/".to_vec();
            expected.extend(&name);
            prop_assert_eq!(mount_point(&line), Some(OsString::from_vec(expected).into()));
            let _survived = (at_or_under(&name, Path::new("/")), under(&name, Path::new("/")));
        }
    }
}
