//! The marks that we leave on a container: which spec it was made from, in a versioned form, so that a later release
//! of the agent compares only what the writer of the mark recorded; and the kubelet's own hash of the same, so that a
//! kubelet that takes the node back restarts nothing. Pure.

use pinnace_cri::container::Container;
use pinnace_cri::labels;
use serde::{Deserialize, Serialize};

/// What a container was made from. New fields are optional: an absent one is never a difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Version of this form, 1.
    pub v: u32,
    /// Image as the spec names it.
    pub image: String,
}

impl Mark {
    /// The annotation's text for a container of this image.
    #[must_use]
    pub fn text(image: &str) -> String {
        let mark = Self { v: 1, image: image.to_owned() };
        serde_json::to_string(&mark).unwrap_or_default()
    }
}

/// The image that the spec named when this container was made; none if it does not carry our mark.
#[must_use]
pub fn image_asked_for(container: &Container) -> Option<String> {
    let text = container.annotations.get(labels::SPEC)?;
    serde_json::from_str::<Mark>(text).ok().map(|mark| mark.image)
}

/// The kubelet's hash of a container's name and image, as its annotation holds it
/// (`HashContainer` of `pkg/kubelet/container/helpers.go`): FNV-1a of 32 bits over Go's dump of the JSON bytes.
#[must_use]
pub fn kubelet_hash(name: &str, image: &str) -> String {
    let map = std::collections::BTreeMap::from([("image", image), ("name", name)]);
    let json = serde_json::to_string(&map).unwrap_or_default();
    // Go's encoder escapes what HTML would take for markup.
    let json = json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026");
    let bytes: Vec<String> = json.bytes().map(|byte| byte.to_string()).collect();
    let dump = format!("([]uint8)[{}]", bytes.join(" "));
    let hash =
        dump.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    format!("{hash:x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_kubelets() {
        // From the kubelet's own functions, Kubernetes 1.36.
        assert_eq!(kubelet_hash("main", "pinnace.local/busybox:1.35"), "6238d06");
        assert_eq!(kubelet_hash("a", "b"), "646fef1b");
        assert_eq!(kubelet_hash("w<e>&b", "\u{e9}"), "b25c7641");
    }

    #[test]
    fn the_mark_tells_the_image_back() {
        let mark: Mark = serde_json::from_str(&Mark::text("a:1")).unwrap();
        assert_eq!(mark, Mark { v: 1, image: "a:1".into() });
    }
}
