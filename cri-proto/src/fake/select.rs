//! What a call or a record is about, and the patterns that faults and scripts choose it by. Pure.

use crate::v1::{ContainerMetadata, PodSandboxConfig};

/// The object that a call, a record or an event is about, as far as it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subject {
    /// Id of the sandbox.
    pub sandbox_id: Option<String>,
    /// Id of the container.
    pub container_id: Option<String>,
    /// UID of the pod.
    pub pod_uid: Option<String>,
    /// Name of the pod.
    pub pod_name: Option<String>,
    /// Namespace of the pod.
    pub pod_namespace: Option<String>,
    /// Name of the container in its pod; absent where the sandbox itself is meant.
    pub container: Option<String>,
    /// Attempt of the container, or of the sandbox where no container is meant.
    pub attempt: Option<u32>,
    /// Image, for calls of the image service and for `CreateContainer`.
    pub image: Option<String>,
}

impl Subject {
    /// A sandbox, by its configuration.
    pub(super) fn of_sandbox(id: Option<&str>, config: &PodSandboxConfig) -> Self {
        let metadata = config.metadata.clone().unwrap_or_default();
        Self {
            sandbox_id: id.map(str::to_owned),
            pod_uid: Some(metadata.uid),
            pod_name: Some(metadata.name),
            pod_namespace: Some(metadata.namespace),
            attempt: Some(metadata.attempt),
            ..Self::default()
        }
    }

    /// A container of the sandbox that `self` describes.
    pub(super) fn container(mut self, id: Option<&str>, metadata: &ContainerMetadata) -> Self {
        self.container_id = id.map(str::to_owned);
        self.container = Some(metadata.name.clone());
        self.attempt = Some(metadata.attempt);
        self
    }
}

/// A pattern over [`Subject`]: each part that is set must be equal; one with nothing set fits everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Select {
    /// Id of a sandbox or of a container.
    pub id: Option<String>,
    /// UID of the pod.
    pub pod_uid: Option<String>,
    /// Name of the pod.
    pub pod_name: Option<String>,
    /// Namespace of the pod.
    pub pod_namespace: Option<String>,
    /// Name of the container.
    pub container: Option<String>,
    /// Attempt of the container, or of the sandbox where no container is meant.
    pub attempt: Option<u32>,
    /// Image.
    pub image: Option<String>,
}

impl Select {
    /// Fits everything.
    #[must_use]
    pub fn any() -> Self {
        Self::default()
    }

    /// Narrows to one sandbox or container.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Narrows to the pod with this UID.
    #[must_use]
    pub fn uid(mut self, uid: impl Into<String>) -> Self {
        self.pod_uid = Some(uid.into());
        self
    }

    /// Narrows to pods of this name.
    #[must_use]
    pub fn pod(mut self, name: impl Into<String>) -> Self {
        self.pod_name = Some(name.into());
        self
    }

    /// Narrows to pods of this namespace.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.pod_namespace = Some(namespace.into());
        self
    }

    /// Narrows to containers of this name.
    #[must_use]
    pub fn container(mut self, name: impl Into<String>) -> Self {
        self.container = Some(name.into());
        self
    }

    /// Narrows to this attempt.
    #[must_use]
    pub fn attempt(mut self, attempt: u32) -> Self {
        self.attempt = Some(attempt);
        self
    }

    /// Narrows to this image.
    #[must_use]
    pub fn image(mut self, image: impl Into<String>) -> Self {
        self.image = Some(image.into());
        self
    }

    /// Whether `subject` fits.
    #[must_use]
    pub fn fits(&self, subject: &Subject) -> bool {
        fn same<T: PartialEq>(wanted: &Option<T>, found: &Option<T>) -> bool {
            wanted.is_none() || wanted == found
        }
        let id = self.id.is_none() || self.id == subject.sandbox_id || self.id == subject.container_id;
        id && same(&self.pod_uid, &subject.pod_uid)
            && same(&self.pod_name, &subject.pod_name)
            && same(&self.pod_namespace, &subject.pod_namespace)
            && same(&self.container, &subject.container)
            && same(&self.attempt, &subject.attempt)
            && same(&self.image, &subject.image)
    }

    /// Whether nothing is set.
    #[must_use]
    pub fn is_any(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_that_is_set_must_be_equal() {
        let subject = Subject {
            container_id: Some("c1".into()),
            pod_uid: Some("u".into()),
            container: Some("web".into()),
            attempt: Some(2),
            ..Subject::default()
        };
        assert!(Select::any().fits(&subject));
        assert!(Select::any().id("c1").uid("u").container("web").attempt(2).fits(&subject));
        for other in [
            Select::any().id("c2"),
            Select::any().uid("v"),
            Select::any().container("db"),
            Select::any().attempt(1),
            Select::any().pod("p"),
        ] {
            assert!(!other.fits(&subject), "{other:?}");
        }
    }
}
