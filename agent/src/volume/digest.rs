//! A digest of one version of a volume: paths, modes, groups and bytes. Pure.

use std::path::Path;

use sha2::{Digest, Sha256};

use crate::disk::contents::{Contents, Node};

/// The digest in hexadecimal. Names and bytes have their lengths before them, so that none can be taken for another's.
pub(super) fn of(contents: &Contents, version: &Path) -> String {
    let mut digest = Sha256::new();
    let mut part = |bytes: &[u8]| {
        digest.update((bytes.len() as u64).to_le_bytes());
        digest.update(bytes);
    };
    for (path, node) in contents {
        let Ok(inner) = path.strip_prefix(version) else { continue };
        part(inner.as_os_str().as_encoded_bytes());
        let (kind, attributes, bytes): (&[u8], _, &[u8]) = match node {
            Node::Directory(attributes) => (b"directory", Some(attributes), b""),
            Node::File(bytes, attributes) => (b"file", Some(attributes), bytes.bytes()),
            Node::Link(target) => (b"link", None, target.as_os_str().as_encoded_bytes()),
            Node::Other => (b"other", None, b""),
        };
        part(kind);
        part(format!("{:?}", attributes.map(|given| (given.mode, given.uid, given.gid))).as_bytes());
        part(bytes);
    }
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::contents::Attributes;

    #[test]
    fn each_thing_counts() {
        let file = |text: &str, mode| Node::File(text.into(), Attributes::mode(mode));
        let version = Path::new("..v");
        let with = |path: &str, node: Node| of(&[(path.into(), node)].into(), version);
        let all = [
            of(&Contents::new(), version),
            with("..v/a", file("x", 0o644)),
            with("..v/a", file("y", 0o644)),
            with("..v/a", file("x", 0o600)),
            with("..v/b", file("x", 0o644)),
            with("..v/a", Node::Link("x".into())),
        ];
        for (index, one) in all.iter().enumerate() {
            assert!(all.iter().skip(index + 1).all(|other| other != one), "{index}");
        }
        // What lies beside the version does not count, nor does the version's name.
        assert_eq!(with("other", file("x", 0o644)), all[0]);
        assert_eq!(of(&[("..w/a".into(), file("x", 0o644))].into(), Path::new("..w")), all[1]);
    }
}
