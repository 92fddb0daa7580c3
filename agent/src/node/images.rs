//! Decides which images the node's status names: the largest ones, digests first. Pure.

use k8s_openapi::api::core::v1::ContainerImage;
use pinnace_cri::image::Image;

/// Names per image (`MaxNamesPerImageInNodeStatus` in `pkg/kubelet/nodestatus/setters.go`).
const MAX_NAMES: usize = 5;

/// The `most` largest images, the largest first; all of them without a limit.
#[must_use]
pub fn largest(images: &[Image], most: Option<usize>) -> Vec<ContainerImage> {
    let mut sorted: Vec<&Image> = images.iter().collect();
    sorted.sort_unstable_by(|left, right| (right.size, &right.id).cmp(&(left.size, &left.id)));
    sorted.into_iter().take(most.unwrap_or(usize::MAX)).map(named).collect()
}

fn named(image: &Image) -> ContainerImage {
    let names: Vec<String> =
        image.repo_digests.iter().chain(&image.repo_tags).take(MAX_NAMES).cloned().collect();
    ContainerImage {
        // An empty list comes back from the API as none.
        names: (!names.is_empty()).then_some(names),
        size_bytes: Some(i64::try_from(image.size).unwrap_or(i64::MAX)),
    }
}

#[cfg(test)]
mod tests {
    use pinnace_cri::id::ImageId;
    use proptest::prelude::*;

    use super::*;

    fn image(id: &str, size: u64, digests: usize, tags: usize) -> Image {
        Image {
            id: ImageId::new(id).unwrap(),
            repo_tags: (0..tags).map(|n| format!("{id}:{n}")).collect(),
            repo_digests: (0..digests).map(|n| format!("{id}@{n}")).collect(),
            size,
            uid: None,
            username: None,
            pinned: false,
        }
    }

    #[test]
    fn the_largest_come_first_with_five_names_at_most() {
        let images = [image("a", 1, 1, 0), image("b", 9, 2, 9), image("c", 9, 0, 0)];
        let found = largest(&images, Some(2));
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].names.as_ref(), found[0].size_bytes), (None, Some(9)));
        let names = found[1].names.as_deref().unwrap();
        assert_eq!(names, ["b@0", "b@1", "b:0", "b:1", "b:2"]);
    }

    proptest! {
        #[test]
        fn the_order_of_the_list_does_not_matter(sizes in prop::collection::vec(0_u64..4, 0..12)) {
            let images: Vec<_> =
                sizes.iter().enumerate().map(|(n, size)| image(&format!("i{n}"), *size, 1, 1)).collect();
            let mut turned = images.clone();
            turned.reverse();
            prop_assert_eq!(largest(&images, Some(5)), largest(&turned, Some(5)));
            prop_assert_eq!(largest(&images, None).len(), images.len());
        }
    }
}
