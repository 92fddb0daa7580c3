//! Images from the wire.

use super::InvalidRecord;
use crate::id::ImageId;
use crate::image::Image;
use crate::v1;

impl TryFrom<v1::Image> for Image {
    type Error = InvalidRecord;

    fn try_from(wire: v1::Image) -> Result<Self, InvalidRecord> {
        let user = wire.uid.map(|uid| uid.value);
        let uid =
            user.map(|uid| u32::try_from(uid).map_err(|_| InvalidRecord::User { id: wire.id.clone(), uid }));
        Ok(Self {
            id: ImageId::new(&wire.id)?,
            repo_tags: wire.repo_tags,
            repo_digests: wire.repo_digests,
            size: wire.size,
            uid: uid.transpose()?,
            username: Some(wire.username).filter(|name| !name.is_empty()),
            pinned: wire.pinned,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(id: &str, uid: Option<i64>) -> Result<Image, InvalidRecord> {
        let uid = uid.map(|value| v1::Int64Value { value });
        Image::try_from(v1::Image { id: id.into(), uid, ..Default::default() })
    }

    #[test]
    fn users_are_numbers_that_linux_has() {
        let id = "sha256:0aff";
        assert_eq!(image(id, None).unwrap().uid, None);
        assert_eq!(image(id, Some(0)).unwrap().uid, Some(0));
        assert_eq!(image(id, Some(4_294_967_295)).unwrap().uid, Some(u32::MAX));
        for uid in [-1, i64::MIN, 4_294_967_296] {
            assert!(matches!(image(id, Some(uid)), Err(InvalidRecord::User { .. })), "{uid}");
        }
        assert_eq!(image(id, None).unwrap().username, None);
    }

    #[test]
    fn an_image_without_an_id_is_refused() {
        assert!(matches!(image("", None), Err(InvalidRecord::Id(_))));
    }
}
