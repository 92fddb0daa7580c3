//! The names by which a pod knows itself: its host name and the domain below which that is found. Pure.
//!
//! As `GeneratePodHostNameAndDomain` in `pkg/kubelet/kubelet_pods.go` and `GetNodenameForKernel` in
//! `pkg/kubelet/util` have it.

use k8s_openapi::api::core::v1::PodSpec;

use crate::source::desired::DesiredPod;

/// Longest host name, in bytes.
const HOSTNAME_BYTES: usize = 63;
/// Longest name that the kernel holds, in bytes.
const KERNEL_BYTES: usize = 64;

/// A pod's names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// The host name, at most 63 bytes.
    pub host: String,
    /// The domain; empty without a `subdomain`.
    pub domain: String,
}

/// The full name is more than the kernel holds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "failed to construct FQDN from pod hostname and cluster domain, FQDN {name} is too long ({KERNEL_BYTES} characters is the max, {} characters requested)",
    name.len()
)]
pub struct TooLong {
    /// The full name.
    pub name: String,
}

/// The names of a pod in a cluster with this domain.
#[must_use]
pub fn names(pod: &DesiredPod, spec: &PodSpec, cluster_domain: &str) -> Names {
    let given = |field: &'_ Option<String>| field.clone().filter(|text| !text.is_empty());
    if let Some(name) = given(&spec.hostname_override) {
        // What the pod calls itself; where others find it does not follow.
        return Names { host: cut(&name), domain: String::new() };
    }
    let host = given(&spec.hostname).unwrap_or_else(|| pod.name.clone());
    let domain = given(&spec.subdomain)
        .map(|subdomain| format!("{subdomain}.{}.svc.{cluster_domain}", pod.namespace))
        .unwrap_or_default();
    Names { host: cut(&host), domain }
}

/// Cut to 63 bytes, then trimmed of `-` and `.`, with which no name ends.
fn cut(name: &str) -> String {
    match name.get(..HOSTNAME_BYTES) {
        Some(cut) if name.len() > HOSTNAME_BYTES => cut.trim_end_matches(['-', '.']).to_owned(),
        _ => name.to_owned(),
    }
}

/// The name that the kernel of the sandbox is given: with the domain if the pod asks for it, empty in the node's own
/// network, where the node's name stays.
pub fn of_kernel(names: &Names, spec: &PodSpec) -> Result<String, TooLong> {
    if spec.host_network == Some(true) {
        return Ok(String::new());
    }
    if names.domain.is_empty() || spec.set_hostname_as_fqdn != Some(true) {
        return Ok(names.host.clone());
    }
    let name = format!("{}.{}", names.host, names.domain);
    if name.len() > KERNEL_BYTES { Err(TooLong { name }) } else { Ok(name) }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::source::example;

    fn named(name: &str, mut spec: Value) -> (String, String, Result<String, String>) {
        spec["containers"] = json!([]);
        let pod = example::manifest("u1", "ns", name, json!({ "metadata": {}, "spec": spec }));
        let spec = pod.pod.spec.as_ref().unwrap();
        let names = names(&pod, spec, "cluster.local");
        let kernel = of_kernel(&names, spec).map_err(|error| error.to_string());
        (names.host, names.domain, kernel)
    }

    fn check(name: &str, spec: Value, host: &str, domain: &str, kernel: &str) {
        let wanted = (host.to_owned(), domain.to_owned(), Ok(kernel.to_owned()));
        assert_eq!(named(name, spec.clone()), wanted, "{spec}");
    }

    #[test]
    fn names_are_the_kubelets() {
        let domain = "sub.ns.svc.cluster.local";
        check("web", json!({}), "web", "", "web");
        check("web", json!({ "hostname": "db" }), "db", "", "db");
        check("web", json!({ "hostname": "" }), "web", "", "web");
        check("web", json!({ "subdomain": "sub" }), "web", domain, "web");
        let full = json!({ "subdomain": "sub", "setHostnameAsFQDN": true });
        check("web", full, "web", domain, "web.sub.ns.svc.cluster.local");
        check("web", json!({ "setHostnameAsFQDN": true }), "web", "", "web");
        check("web", json!({ "hostNetwork": true, "subdomain": "sub" }), "web", domain, "");
        let other = json!({ "hostnameOverride": "a.example", "hostname": "db", "subdomain": "sub" });
        check("web", other, "a.example", "", "a.example");
    }

    #[test]
    fn a_long_name_is_cut_and_trimmed() {
        let long = format!("{}-.b", "a".repeat(61));
        check(&long, json!({}), &"a".repeat(61), "", &"a".repeat(61));
        check(&"b".repeat(63), json!({}), &"b".repeat(63), "", &"b".repeat(63));
    }

    #[test]
    fn a_full_name_that_the_kernel_cannot_hold_is_told() {
        let spec = json!({ "subdomain": "sub", "setHostnameAsFQDN": true });
        let fits = named(&"a".repeat(64 - 25), spec.clone()).2.unwrap();
        assert_eq!(fits.len(), 64);
        let name = "a".repeat(64 - 24);
        let wanted = format!(
            "failed to construct FQDN from pod hostname and cluster domain, FQDN {name}.sub.ns.svc.cluster.local is too long (64 characters is the max, 65 characters requested)"
        );
        assert_eq!(named(&name, spec).2, Err(wanted));
    }
}
