//! Who owns the files of a volume, and which modes they get. Pure.
//!
//! A token is for the pod's own processes only: where one user or a group is known that they all have, nobody else can
//! read it. Facts: `FsUserFrom` of `pkg/volume/util/util.go`, `volume_linux.go` beside it and
//! `pkg/volume/projected/projected.go`.

use k8s_openapi::api::core::v1::{Container, PodSpec};

use crate::disk::contents::Attributes;

/// Mode of directories, before a group is set.
const DIRECTORY_MODE: u32 = 0o755;
/// Mode of a token that not everyone may read.
const OWN_TOKEN_MODE: u32 = 0o600;
/// What the group of a read-only volume may do with its files.
const GROUP_READS: u32 = 0o440;
/// What it may do with its directories, whose entries get the same group.
const GROUP_ENTERS: u32 = 0o2550;

/// Whom a pod's volumes are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Owner {
    /// The one user that all containers run as, if the spec says so.
    pub user: Option<u32>,
    /// `fsGroup`.
    pub group: Option<u32>,
}

impl Owner {
    /// Of a pod's spec.
    #[must_use]
    pub fn of(spec: &PodSpec) -> Self {
        let context = spec.security_context.as_ref();
        let id = |id: i64| u32::try_from(id).ok();
        let inherited = context.and_then(|context| context.run_as_user);
        let user = |container: &Container| {
            let own = container.security_context.as_ref().and_then(|context| context.run_as_user);
            own.or(inherited)
        };
        let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
        let mut users: Vec<Option<i64>> = containers.map(user).collect();
        users.dedup();
        let user = match users.as_slice() {
            [Some(only)] => id(*only),
            _ => None,
        };
        Self { user, group: context.and_then(|context| context.fs_group).and_then(id) }
    }

    /// Of a file with this mode in the spec.
    #[must_use]
    pub fn file(&self, mode: u32) -> Attributes {
        let opened = if self.group.is_some() { GROUP_READS } else { 0 };
        Attributes { mode: mode | opened, uid: None, gid: self.group }
    }

    /// Of a token in a volume of this default mode.
    #[must_use]
    pub fn token(&self, default_mode: u32) -> Attributes {
        let closed = self.user.is_some() || self.group.is_some();
        let mode = if closed { OWN_TOKEN_MODE } else { default_mode };
        Attributes { uid: self.user, ..self.file(mode) }
    }

    /// Of a directory.
    #[must_use]
    pub fn directory(&self) -> Attributes {
        let opened = if self.group.is_some() { GROUP_ENTERS } else { 0 };
        Attributes { mode: DIRECTORY_MODE | opened, uid: None, gid: self.group }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn owner(pod: Value, containers: &[Option<i64>]) -> Owner {
        let container = |user: &Option<i64>| match user {
            Some(user) => json!({ "name": "c", "securityContext": { "runAsUser": user } }),
            None => json!({ "name": "c" }),
        };
        let containers: Vec<_> = containers.iter().map(container).collect();
        let spec = json!({ "securityContext": pod, "containers": containers });
        Owner::of(&serde_json::from_value(spec).unwrap())
    }

    fn shown(attributes: Attributes) -> (u32, Option<u32>, Option<u32>) {
        (attributes.mode, attributes.uid, attributes.gid)
    }

    #[test]
    fn a33_a_token_is_closed_to_other_users_where_the_pods_user_is_known() {
        let nobody = json!({});
        assert_eq!(shown(owner(nobody.clone(), &[None]).token(0o644)), (0o644, None, None));
        assert_eq!(shown(owner(nobody.clone(), &[Some(5)]).token(0o644)), (0o600, Some(5), None));
        assert_eq!(shown(owner(nobody.clone(), &[Some(5), Some(5)]).token(0o644)), (0o600, Some(5), None));
        assert_eq!(shown(owner(nobody.clone(), &[Some(5), Some(6)]).token(0o644)), (0o644, None, None));
        assert_eq!(shown(owner(nobody.clone(), &[Some(5), None, Some(5)]).token(0o644)), (0o644, None, None));
        assert_eq!(shown(owner(nobody, &[None, Some(5)]).token(0o644)), (0o644, None, None));
        let user = json!({ "runAsUser": 5 });
        assert_eq!(shown(owner(user.clone(), &[None, Some(5)]).token(0o644)), (0o600, Some(5), None));
        assert_eq!(shown(owner(user.clone(), &[None, Some(0)]).token(0o644)), (0o644, None, None));
        let group = json!({ "fsGroup": 7 });
        assert_eq!(shown(owner(group, &[None]).token(0o644)), (0o640, None, Some(7)));
        let both = json!({ "fsGroup": 7, "runAsUser": 5 });
        assert_eq!(shown(owner(both, &[None]).token(0o644)), (0o640, Some(5), Some(7)));
    }

    #[test]
    fn a_group_may_read_and_enter() {
        let grouped = owner(json!({ "fsGroup": 7 }), &[None]);
        assert_eq!(shown(grouped.file(0o400)), (0o440, None, Some(7)));
        assert_eq!(shown(grouped.directory()), (0o2755, None, Some(7)));
        let plain = owner(json!({}), &[None]);
        assert_eq!(shown(plain.file(0o400)), (0o400, None, None));
        assert_eq!(shown(plain.directory()), (0o755, None, None));
    }
}
