//! Images that the fake holds. Pure.

use std::collections::BTreeMap;

use super::ident::digest_of;
use crate::v1;

/// Images by id.
#[derive(Debug, Default)]
pub(super) struct Images {
    by_id: BTreeMap<String, v1::Image>,
}

/// Size of an image that nobody gave a size.
const SIZE: u64 = 1024 * 1024;

/// A reference with its tag: `latest` where it has neither tag nor digest.
pub(super) fn normal(reference: &str) -> String {
    let last = reference.rsplit('/').next().unwrap_or(reference);
    if last.contains(':') || last.contains('@') || reference.starts_with("sha256:") {
        reference.to_owned()
    } else {
        format!("{reference}:latest")
    }
}

/// The repository of a reference: all before its tag or digest.
fn repository(reference: &str) -> &str {
    let end = reference.find('@').unwrap_or(reference.len());
    let name = reference.get(..end).unwrap_or(reference);
    match (name.rfind(':'), name.rfind('/')) {
        (Some(colon), slash) if slash.is_none_or(|slash| slash < colon) => name.get(..colon).unwrap_or(name),
        _ => name,
    }
}

impl Images {
    pub(super) fn seeded(references: &[String]) -> Self {
        let mut images = Self::default();
        for reference in references {
            images.add(reference, SIZE);
        }
        images
    }

    /// Holds the image of this reference from now on; gives its id.
    pub(super) fn add(&mut self, reference: &str, size: u64) -> String {
        let reference = normal(reference);
        if let Some(image) = self.find(&reference) {
            return image.id.clone();
        }
        let repository = repository(&reference);
        let digest = match reference.split_once('@') {
            Some((_, digest)) => digest.to_owned(),
            None => format!("sha256:{}", digest_of(&reference)),
        };
        let id = format!("sha256:{}", digest_of(&digest));
        let image = self.by_id.entry(id.clone()).or_insert_with(|| v1::Image {
            id: id.clone(),
            size,
            uid: Some(v1::Int64Value { value: 0 }),
            ..Default::default()
        });
        let repo_digest = format!("{repository}@{digest}");
        if !image.repo_digests.contains(&repo_digest) {
            image.repo_digests.push(repo_digest);
        }
        if !reference.contains('@') {
            image.repo_tags.push(reference);
        }
        id
    }

    /// Gives the image of `known` one more name, as two tags of one digest are.
    pub(super) fn tag(&mut self, known: &str, other: &str) -> bool {
        let Some(id) = self.find(known).map(|image| image.id.clone()) else { return false };
        let Some(image) = self.by_id.get_mut(&id) else { return false };
        let other = normal(other);
        if !image.repo_tags.contains(&other) {
            image.repo_tags.push(other);
        }
        true
    }

    /// By id, by a prefix of it, by tag or by digest.
    pub(super) fn find(&self, reference: &str) -> Option<&v1::Image> {
        if reference.is_empty() {
            return None;
        }
        let bare = reference.strip_prefix("sha256:").unwrap_or(reference);
        let is_id = bare.len() >= 6 && bare.bytes().all(|byte| byte.is_ascii_hexdigit());
        let wanted = normal(reference);
        self.by_id.values().find(|image| {
            let id = image.id.strip_prefix("sha256:").unwrap_or(&image.id);
            (is_id && id.starts_with(bare))
                || image.repo_tags.contains(&wanted)
                || image.repo_digests.contains(&wanted)
        })
    }

    /// Forgets the image with all its names.
    pub(super) fn remove(&mut self, reference: &str) {
        if let Some(id) = self.find(reference).map(|image| image.id.clone()) {
            self.by_id.remove(&id);
        }
    }

    /// All images, or the one that fits.
    pub(super) fn list(&self, reference: &str) -> Vec<v1::Image> {
        if reference.is_empty() {
            self.by_id.values().cloned().collect()
        } else {
            self.find(reference).cloned().into_iter().collect()
        }
    }

    /// The digest reference of an image, or its id where it has none.
    pub(super) fn reference(&self, id: &str) -> String {
        let digest = self.by_id.get(id).and_then(|image| image.repo_digests.first());
        digest.cloned().unwrap_or_else(|| id.to_owned())
    }

    pub(super) fn total_bytes(&self) -> u64 {
        self.by_id.values().fold(0, |sum, image| sum.saturating_add(image.size))
    }

    pub(super) fn set_user(&mut self, reference: &str, uid: Option<i64>, name: &str) {
        let id = self.add(reference, SIZE);
        if let Some(image) = self.by_id.get_mut(&id) {
            image.uid = uid.map(|value| v1::Int64Value { value });
            name.clone_into(&mut image.username);
        }
    }

    pub(super) fn set_size(&mut self, reference: &str, size: u64) {
        if let Some(id) = self.find(reference).map(|image| image.id.clone())
            && let Some(image) = self.by_id.get_mut(&id)
        {
            image.size = size;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_found_by_each_of_its_names_and_removed_whole() {
        let mut images = Images::default();
        let id = images.add("local/app", 7);
        assert!(images.tag("local/app:latest", "local/other:v2"));
        let digest = images.reference(&id);
        assert!(digest.starts_with("local/app@sha256:"), "{digest}");
        for name in ["local/app", "local/app:latest", "local/other:v2", &id, &digest] {
            assert_eq!(images.find(name).map(|image| image.id.as_str()), Some(id.as_str()), "{name}");
        }
        images.remove("local/other:v2");
        assert!(images.list("").is_empty());
    }

    #[test]
    fn a_digest_reference_has_no_tag() {
        let mut images = Images::default();
        images.add("local/app@sha256:aaaa", 7);
        let all = images.list("");
        assert!(all[0].repo_tags.is_empty() && all[0].repo_digests == ["local/app@sha256:aaaa"], "{all:?}");
        assert_eq!(repository("host:5000/app"), "host:5000/app");
        assert_eq!(repository("host:5000/app:v1"), "host:5000/app");
    }
}
