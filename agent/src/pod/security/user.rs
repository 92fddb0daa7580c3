//! Whom a container runs as, and whether it may. Pure.
//!
//! The user goes into every message, also when only the image names one: a runtime that is told nothing might take
//! another (CVE-2019-11245: root on the second start).

use k8s_openapi::api::core::v1::{Container, PodSpec};
use pinnace_cri::image::Image;

use super::Refusal;
use crate::source::desired::DesiredPod;

/// Whom a container runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum User {
    /// A user id.
    Id(i64),
    /// A name that the runtime looks up in the image.
    Name(String),
}

/// The user that the spec names.
#[must_use]
pub fn asked(spec: &PodSpec, container: &Container) -> Option<i64> {
    let own = container.security_context.as_ref().and_then(|own| own.run_as_user);
    own.or(spec.security_context.as_ref().and_then(|pod| pod.run_as_user))
}

/// The user of an image. One that names none runs as root.
#[must_use]
pub fn of_image(image: &Image) -> User {
    match (image.uid, &image.username) {
        (Some(uid), _) => User::Id(uid.into()),
        (None, Some(name)) => User::Name(name.clone()),
        (None, None) => User::Id(0),
    }
}

/// Whether the container may run as this user.
pub fn check(pod: &DesiredPod, spec: &PodSpec, container: &Container, user: &User) -> Result<(), Refusal> {
    let own = container.security_context.as_ref().and_then(|own| own.run_as_non_root);
    let must = own.or(spec.security_context.as_ref().and_then(|pod| pod.run_as_non_root));
    if must != Some(true) {
        return Ok(());
    }
    let named = format!("{}_{}({})", pod.name, pod.namespace, pod.uid);
    let container_name = container.name.clone();
    match (asked(spec, container), user) {
        (Some(0), _) => Err(Refusal::AsksForRoot { pod: named, container: container_name }),
        (Some(_), _) => Ok(()),
        (None, User::Id(0)) => Err(Refusal::ImageIsRoot { pod: named, container: container_name }),
        (None, User::Id(_)) => Ok(()),
        (None, User::Name(user)) => {
            Err(Refusal::ImageNamesUser { user: user.clone(), pod: named, container: container_name })
        }
    }
}

#[cfg(test)]
mod tests {
    use pinnace_cri::id::ImageId;
    use serde_json::{Value, json};

    use super::*;
    use crate::source::example;

    fn image(uid: Option<u32>, username: Option<&str>) -> User {
        let id = ImageId::new("sha256:1").unwrap();
        of_image(&Image {
            id,
            repo_tags: Vec::new(),
            repo_digests: Vec::new(),
            size: 1,
            uid,
            username: username.map(str::to_owned),
            pinned: false,
        })
    }

    fn judged(pod: Value, own: Value, user: &User) -> Result<(), String> {
        let spec = json!({ "securityContext": pod, "containers": [{ "name": "c", "securityContext": own }] });
        let pod = example::manifest("u1", "ns", "web", json!({ "metadata": {}, "spec": spec }));
        let spec = pod.pod.spec.as_ref().unwrap();
        check(&pod, spec, &spec.containers[0], user).map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn a41_root_is_refused_in_the_kubelets_words() {
        let must = || json!({ "runAsNonRoot": true });
        let at = "(pod: \"web_ns(u1)\", container: c)";
        let own = format!("container's runAsUser breaks non-root policy {at}");
        let its_images = format!("container has runAsNonRoot and image will run as root {at}");
        let somebody = image(Some(1000), None);
        assert_eq!(judged(must(), json!({ "runAsUser": 0 }), &somebody), Err(own.clone()));
        assert_eq!(judged(json!({ "runAsNonRoot": true, "runAsUser": 0 }), json!({}), &somebody), Err(own));
        for root in [image(Some(0), None), image(None, None), image(Some(0), Some("1000"))] {
            assert_eq!(judged(must(), json!({}), &root), Err(its_images.clone()), "{root:?}");
        }
        for name in ["root", "www-data", "0x0"] {
            let message = format!(
                "container has runAsNonRoot and image has non-numeric user ({name}), \
                 cannot verify user is non-root {at}"
            );
            assert_eq!(judged(must(), json!({}), &image(None, Some(name))), Err(message));
        }
    }

    #[test]
    fn a41_the_containers_word_goes_before_the_pods() {
        let root = User::Id(0);
        let must = |must: bool| json!({ "runAsNonRoot": must });
        assert!(judged(must(false), must(true), &root).is_err());
        assert!(judged(must(true), must(false), &root).is_ok());
        assert!(judged(json!({}), json!({}), &root).is_ok());
        let overridden = json!({ "runAsNonRoot": true, "runAsUser": 0 });
        assert!(judged(overridden, json!({ "runAsUser": 7 }), &root).is_ok());
        assert!(judged(json!({ "runAsNonRoot": true, "runAsUser": 7 }), json!({}), &root).is_ok());
        assert!(judged(must(true), json!({}), &User::Id(1000)).is_ok());
    }
}
