//! Containers from the wire.

use super::{InvalidRecord, label, name, time, time_if_set};
use crate::container::{Container, ContainerState, ContainerStatus, LinuxUser};
use crate::id::{ContainerId, PodUid, SandboxId};
use crate::labels::POD_UID;
use crate::v1;

const WHAT: &str = "container";

impl TryFrom<v1::Container> for Container {
    type Error = InvalidRecord;

    fn try_from(wire: v1::Container) -> Result<Self, InvalidRecord> {
        let id = ContainerId::new(&wire.id)?;
        let pod_uid = PodUid::new(label(&wire.labels, WHAT, &wire.id, POD_UID)?)?;
        let Some(metadata) = wire.metadata else {
            return Err(InvalidRecord::NoMetadata { what: WHAT, id: wire.id });
        };
        Ok(Self {
            id,
            sandbox_id: SandboxId::new(&wire.pod_sandbox_id)?,
            pod_uid,
            name: name("container name", metadata.name)?,
            attempt: metadata.attempt,
            state: state(wire.state),
            image: wire.image.map(|image| image.image).unwrap_or_default(),
            image_ref: wire.image_ref,
            created_at: time("creation time", &wire.id, wire.created_at)?,
            labels: wire.labels,
            annotations: wire.annotations,
        })
    }
}

impl TryFrom<v1::ContainerStatus> for ContainerStatus {
    type Error = InvalidRecord;

    fn try_from(wire: v1::ContainerStatus) -> Result<Self, InvalidRecord> {
        let id = ContainerId::new(&wire.id)?;
        let Some(metadata) = wire.metadata else {
            return Err(InvalidRecord::NoMetadata { what: WHAT, id: wire.id });
        };
        Ok(Self {
            id,
            name: name("container name", metadata.name)?,
            attempt: metadata.attempt,
            state: state(wire.state),
            created_at: time("creation time", &wire.id, wire.created_at)?,
            started_at: time_if_set("start time", &wire.id, wire.started_at)?,
            finished_at: time_if_set("end time", &wire.id, wire.finished_at)?,
            exit_code: wire.exit_code,
            image: wire.image.map(|image| image.image).unwrap_or_default(),
            image_ref: wire.image_ref,
            reason: wire.reason,
            message: wire.message,
            labels: wire.labels,
            annotations: wire.annotations,
            log_path: wire.log_path,
            mounts: wire.mounts.into_iter().map(|mount| (mount.container_path, mount.host_path)).collect(),
            user: wire.user.and_then(|user| user.linux).map(|user| LinuxUser {
                uid: user.uid,
                gid: user.gid,
                groups: user.supplemental_groups,
            }),
        })
    }
}

/// A number that CRI v1 does not have is `Unknown`: the container is there, and leaving it out of a list would make
/// it look absent.
fn state(state: i32) -> ContainerState {
    match v1::ContainerState::try_from(state) {
        Ok(v1::ContainerState::ContainerCreated) => ContainerState::Created,
        Ok(v1::ContainerState::ContainerRunning) => ContainerState::Running,
        Ok(v1::ContainerState::ContainerExited) => ContainerState::Exited,
        Ok(v1::ContainerState::ContainerUnknown) | Err(_) => ContainerState::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::super::GO_ZERO_TIME;
    use super::*;
    use std::collections::BTreeMap;

    fn wire() -> v1::Container {
        v1::Container {
            id: "c1".into(),
            pod_sandbox_id: "s1".into(),
            metadata: Some(v1::ContainerMetadata { name: "main".into(), attempt: 2 }),
            image: Some(v1::ImageSpec { image: "busybox:1".into(), ..Default::default() }),
            state: 1,
            created_at: 7,
            labels: BTreeMap::from([(POD_UID.into(), "uid-1".into())]),
            ..Default::default()
        }
    }

    fn converted(change: impl FnOnce(&mut v1::Container)) -> Result<Container, InvalidRecord> {
        let mut wire = wire();
        change(&mut wire);
        Container::try_from(wire)
    }

    #[test]
    fn a_whole_record_becomes_a_container() {
        let container = converted(|_| {}).unwrap();
        assert_eq!((container.name.as_str(), container.attempt), ("main", 2));
        assert_eq!((container.state, container.image.as_str()), (ContainerState::Running, "busybox:1"));
    }

    #[test]
    fn a70_malformed_containers_are_refused_by_kind() {
        assert!(matches!(converted(|w| w.id.clear()), Err(InvalidRecord::Id(_))));
        assert!(matches!(converted(|w| w.pod_sandbox_id.clear()), Err(InvalidRecord::Id(_))));
        assert!(matches!(converted(|w| w.metadata = None), Err(InvalidRecord::NoMetadata { .. })));
        assert!(matches!(converted(|w| w.created_at = i64::MIN), Err(InvalidRecord::Time { .. })));
        assert!(matches!(converted(|w| w.labels.clear()), Err(InvalidRecord::NoLabel { .. })));
        let path_like = |w: &mut v1::Container| drop(w.labels.insert(POD_UID.into(), "../../x".into()));
        assert!(matches!(converted(path_like), Err(InvalidRecord::Id(_))));
        let name = |w: &mut v1::Container| w.metadata.as_mut().unwrap().name = "../x".into();
        assert!(matches!(converted(name), Err(InvalidRecord::Id(_))));
    }

    #[test]
    fn a70_an_unknown_state_stays_a_container_of_unknown_state() {
        for state in [3, 4, -1, i32::MAX] {
            assert_eq!(converted(|w| w.state = state).map(|c| c.state), Ok(ContainerState::Unknown));
        }
    }

    fn status(started_at: i64, finished_at: i64) -> Result<ContainerStatus, InvalidRecord> {
        ContainerStatus::try_from(v1::ContainerStatus {
            id: "c1".into(),
            metadata: Some(v1::ContainerMetadata { name: "main".into(), attempt: 0 }),
            started_at,
            finished_at,
            exit_code: i32::MIN,
            ..Default::default()
        })
    }

    #[test]
    fn times_that_are_not_yet_are_none_and_negative_ones_are_refused() {
        let running = status(5, 0).unwrap();
        assert_eq!((running.started_at, running.finished_at), (Some(5), None));
        assert_eq!(status(5, GO_ZERO_TIME).unwrap().finished_at, None);
        assert_eq!(status(5, i64::MAX).unwrap().finished_at, Some(i64::MAX));
        assert!(matches!(status(-2, 0), Err(InvalidRecord::Time { field: "start time", .. })));
        assert!(ContainerStatus::try_from(v1::ContainerStatus::default()).is_err());
    }
}
