//! Sandboxes from the wire.

use std::net::IpAddr;

use super::{InvalidRecord, label, name, time};
use crate::id::{PodUid, SandboxId};
use crate::labels::POD_UID;
use crate::sandbox::{NetworkMode, Sandbox, SandboxState, SandboxStatus};
use crate::v1;

const WHAT: &str = "sandbox";

impl TryFrom<v1::PodSandbox> for Sandbox {
    type Error = InvalidRecord;

    fn try_from(wire: v1::PodSandbox) -> Result<Self, InvalidRecord> {
        let id = SandboxId::new(&wire.id)?;
        let label = label(&wire.labels, WHAT, &wire.id, POD_UID)?;
        let Some(metadata) = wire.metadata else {
            return Err(InvalidRecord::NoMetadata { what: WHAT, id: wire.id });
        };
        if metadata.uid != label {
            let label = label.to_owned();
            return Err(InvalidRecord::TwoPods { id: wire.id, metadata: metadata.uid, label });
        }
        Ok(Self {
            id,
            pod_uid: PodUid::new(&metadata.uid)?,
            pod_name: name("pod name", metadata.name)?,
            pod_namespace: name("namespace", metadata.namespace)?,
            attempt: metadata.attempt,
            state: state(&wire.id, wire.state)?,
            created_at: time("creation time", &wire.id, wire.created_at)?,
            labels: wire.labels,
            annotations: wire.annotations,
            runtime_handler: wire.runtime_handler,
        })
    }
}

impl TryFrom<v1::PodSandboxStatus> for SandboxStatus {
    type Error = InvalidRecord;

    fn try_from(wire: v1::PodSandboxStatus) -> Result<Self, InvalidRecord> {
        Ok(Self {
            id: SandboxId::new(&wire.id)?,
            state: state(&wire.id, wire.state)?,
            ips: addresses(&wire.id, wire.network)?,
            network: network(wire.linux),
        })
    }
}

fn state(id: &str, state: i32) -> Result<SandboxState, InvalidRecord> {
    match v1::PodSandboxState::try_from(state) {
        Ok(v1::PodSandboxState::SandboxReady) => Ok(SandboxState::Ready),
        Ok(v1::PodSandboxState::SandboxNotready) => Ok(SandboxState::NotReady),
        Err(_) => Err(InvalidRecord::State { what: WHAT, id: id.to_owned(), state }),
    }
}

fn addresses(id: &str, network: Option<v1::PodSandboxNetworkStatus>) -> Result<Vec<IpAddr>, InvalidRecord> {
    let Some(network) = network.filter(|network| !network.ip.is_empty()) else { return Ok(Vec::new()) };
    let additional = network.additional_ips.into_iter().map(|additional| additional.ip);
    let parse = |text: String| {
        let parsed = text.parse();
        parsed.map_err(|_| InvalidRecord::Address { id: id.to_owned(), text })
    };
    std::iter::once(network.ip).chain(additional).map(parse).collect()
}

fn network(linux: Option<v1::LinuxPodSandboxStatus>) -> NetworkMode {
    let options = linux.and_then(|linux| linux.namespaces).and_then(|namespaces| namespaces.options);
    match options.map(|options| options.network()) {
        Some(v1::NamespaceMode::Node) => NetworkMode::Node,
        _ => NetworkMode::Pod,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::InvalidId;
    use std::collections::BTreeMap;

    fn wire() -> v1::PodSandbox {
        v1::PodSandbox {
            id: "sandbox1".into(),
            metadata: Some(v1::PodSandboxMetadata {
                name: "web".into(),
                uid: "uid-1".into(),
                namespace: "default".into(),
                attempt: 3,
            }),
            state: 0,
            created_at: 7,
            labels: BTreeMap::from([(POD_UID.into(), "uid-1".into())]),
            ..Default::default()
        }
    }

    fn refused(change: impl FnOnce(&mut v1::PodSandbox)) -> InvalidRecord {
        let mut wire = wire();
        change(&mut wire);
        Sandbox::try_from(wire).expect_err("the record was accepted")
    }

    #[test]
    fn a_whole_record_becomes_a_sandbox() {
        let sandbox = Sandbox::try_from(wire()).unwrap();
        assert_eq!(
            (sandbox.id.as_str(), sandbox.pod_uid.as_str(), sandbox.attempt),
            ("sandbox1", "uid-1", 3)
        );
        assert_eq!((sandbox.state, sandbox.created_at), (SandboxState::Ready, 7));
    }

    #[test]
    fn a_sandbox_whose_making_was_cut_short_is_one() {
        let mut half = wire();
        (half.state, half.created_at) = (1, super::super::GO_ZERO_TIME);
        let half = Sandbox::try_from(half).unwrap();
        assert_eq!((half.state, half.created_at), (SandboxState::NotReady, 0));
    }

    #[test]
    fn a70_malformed_sandboxes_are_refused_by_kind() {
        let metadata = |change: fn(&mut v1::PodSandboxMetadata)| {
            move |wire: &mut v1::PodSandbox| change(wire.metadata.as_mut().unwrap())
        };
        assert!(matches!(refused(|w| w.id.clear()), InvalidRecord::Id(InvalidId::Empty { .. })));
        assert!(matches!(refused(|w| w.id = "../x".into()), InvalidRecord::Id(InvalidId::Character { .. })));
        assert!(matches!(refused(|w| w.metadata = None), InvalidRecord::NoMetadata { .. }));
        assert!(matches!(refused(|w| w.state = 2), InvalidRecord::State { state: 2, .. }));
        assert!(matches!(refused(|w| w.state = i32::MIN), InvalidRecord::State { .. }));
        assert!(matches!(refused(|w| w.created_at = -1), InvalidRecord::Time { nanos: -1, .. }));
        assert!(matches!(refused(|w| w.labels.clear()), InvalidRecord::NoLabel { label: POD_UID, .. }));
        assert!(matches!(refused(metadata(|m| m.uid = "uid-2".into())), InvalidRecord::TwoPods { .. }));
        assert!(matches!(refused(metadata(|m| m.name = "a/../b".into())), InvalidRecord::Id(_)));
        assert!(matches!(refused(metadata(|m| m.namespace.clear())), InvalidRecord::Id(_)));
        let path_like = refused(|w| {
            w.metadata.as_mut().unwrap().uid = "../../x".into();
            w.labels.insert(POD_UID.into(), "../../x".into());
        });
        assert!(matches!(path_like, InvalidRecord::Id(InvalidId::Character { kind: "pod uid", .. })));
    }

    fn status(ip: &str, more: &[&str], network: i32) -> v1::PodSandboxStatus {
        let options = v1::NamespaceOption { network, ..Default::default() };
        v1::PodSandboxStatus {
            id: "sandbox1".into(),
            network: Some(v1::PodSandboxNetworkStatus {
                ip: ip.into(),
                additional_ips: more.iter().map(|ip| v1::PodIp { ip: (*ip).into() }).collect(),
            }),
            linux: Some(v1::LinuxPodSandboxStatus {
                namespaces: Some(v1::Namespace { options: Some(options) }),
            }),
            ..Default::default()
        }
    }

    #[test]
    fn addresses_keep_their_order_and_must_parse() {
        let both = SandboxStatus::try_from(status("10.0.0.7", &["fd00::7"], 0)).unwrap();
        assert_eq!(both.ips, ["10.0.0.7".parse::<IpAddr>().unwrap(), "fd00::7".parse().unwrap()]);
        assert_eq!(both.network, NetworkMode::Pod);
        let node = SandboxStatus::try_from(status("", &[], 2)).unwrap();
        assert_eq!((node.ips.len(), node.network), (0, NetworkMode::Node));
        let bad = SandboxStatus::try_from(status("10.0.0.7", &["10.0.0"], 0));
        assert!(matches!(bad, Err(InvalidRecord::Address { .. })));
        assert!(SandboxStatus::try_from(v1::PodSandboxStatus::default()).is_err());
    }
}
