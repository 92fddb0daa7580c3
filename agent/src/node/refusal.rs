//! Decides whether an existing node object is this machine's. Pure.

use k8s_openapi::api::core::v1::Node;

use super::object::VIRTUAL_TAINT;
use crate::host::machine::Machine;

/// Why an existing object is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It describes another machine: the API server of another cluster, or a name that is used twice.
    #[error(
        "node {node} of this API server is another machine: its machine id is {theirs}, this machine's is {ours}; \
         check the server in the kubeconfig and the node's name, or, if this machine takes the other one's place, \
         delete the node first"
    )]
    OtherMachine {
        /// Name of the node.
        node: String,
        /// The machine id in the object.
        theirs: String,
        /// This machine's.
        ours: String,
    },
    /// A virtual node's taint is missing, and NodeRestriction does not let the node add it.
    #[error(
        "node {node} exists without the taint {}={}:NoSchedule, and a node may not add taints to itself; \
         delete the node, or choose another name with --hostname-override",
        VIRTUAL_TAINT.0,
        VIRTUAL_TAINT.1
    )]
    NoTaint {
        /// Name of the node.
        node: String,
    },
}

impl Refusal {
    /// Whether trying again cannot help while the object is as it is, so that the start has failed.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        matches!(self, Self::NoTaint { .. })
    }
}

/// Whether `existing` may be written to by this machine.
///
/// A machine that was installed anew has another machine id and the same hardware id: it is still the same.
pub fn examine(existing: &Node, machine: &Machine, is_virtual: bool) -> Result<(), Refusal> {
    let node = existing.metadata.name.clone().unwrap_or_default();
    if let Some(info) = existing.status.as_ref().and_then(|status| status.node_info.as_ref()) {
        let known = !info.machine_id.is_empty() && !machine.machine_id.is_empty();
        let same_hardware = !machine.system_uuid.is_empty()
            && machine.system_uuid != machine.machine_id
            && info.system_uuid.eq_ignore_ascii_case(&machine.system_uuid);
        if known && info.machine_id != machine.machine_id && !same_hardware {
            let (theirs, ours) = (info.machine_id.clone(), machine.machine_id.clone());
            return Err(Refusal::OtherMachine { node, theirs, ours });
        }
    }
    let taints = existing.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
    let has_ours = taints.iter().any(|taint| {
        taint.key == VIRTUAL_TAINT.0
            && taint.value.as_deref() == Some(VIRTUAL_TAINT.1)
            && taint.effect == "NoSchedule"
    });
    if is_virtual && !has_ours { Err(Refusal::NoTaint { node }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(machine_id: &str, uuid: &str, taint: Option<&str>) -> Node {
        let taints: Vec<_> = taint
            .into_iter()
            .map(
                |value| json!({"key": "virtual-kubelet.io/provider", "value": value, "effect": "NoSchedule"}),
            )
            .collect();
        let info = json!({"machineID": machine_id, "systemUUID": uuid, "bootID": "", "kernelVersion": "",
            "osImage": "", "containerRuntimeVersion": "", "kubeletVersion": "", "kubeProxyVersion": "",
            "operatingSystem": "", "architecture": ""});
        serde_json::from_value(json!({
            "metadata": {"name": "n"}, "spec": {"taints": taints}, "status": {"nodeInfo": info}
        }))
        .unwrap()
    }

    fn machine(system_uuid: &str) -> Machine {
        Machine { machine_id: "ours".into(), system_uuid: system_uuid.into(), ..Machine::default() }
    }

    #[test]
    fn another_machine_is_refused_and_a_new_installation_is_not() {
        assert_eq!(examine(&node("ours", "x", None), &machine("y"), false), Ok(()));
        assert_eq!(examine(&node("", "", None), &machine("y"), false), Ok(()));
        assert_eq!(examine(&node("old", "Y", None), &machine("y"), false), Ok(()));
        let refusal = examine(&node("theirs", "x", None), &machine("ours"), false).unwrap_err();
        assert!(!refusal.is_fatal());
        let text = refusal.to_string();
        assert!(text.contains("machine id is theirs") && text.contains("kubeconfig"), "{text}");
        assert!(examine(&node("theirs", "ours", None), &machine("ours"), false).is_err());
    }

    #[test]
    fn a_virtual_node_without_its_taint_is_a_start_error() {
        assert_eq!(examine(&node("ours", "", Some("pinnace")), &machine(""), true), Ok(()));
        for other in [None, Some("another")] {
            let refusal = examine(&node("ours", "", other), &machine(""), true).unwrap_err();
            assert!(refusal.is_fatal() && refusal.to_string().contains("--hostname-override"), "{refusal}");
        }
        assert_eq!(examine(&node("ours", "", None), &machine(""), false), Ok(()));
    }
}
