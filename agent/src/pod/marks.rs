//! The mark that we leave on a container: which spec it was made from, in a versioned form, so that a later
//! release of the agent compares only what the writer of the mark recorded.

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
