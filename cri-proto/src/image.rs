//! Images as plain values.

use crate::id::ImageId;

/// One image that the runtime holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The runtime's id, such as `sha256:…`.
    pub id: ImageId,
    /// Names with a tag.
    pub repo_tags: Vec<String>,
    /// Names with a digest.
    pub repo_digests: Vec<String>,
    /// Bytes on disk, as the runtime counts them.
    pub size: u64,
    /// User id that the image starts as, where it names one by number; never negative.
    pub uid: Option<u32>,
    /// User that the image starts as, where it names one by name.
    pub username: Option<String>,
    /// The runtime asks that garbage collection spares it.
    pub pinned: bool,
}
