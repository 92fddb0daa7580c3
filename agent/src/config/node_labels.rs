//! Decides which labels the node may register with. Pure.
//!
//! NodeRestriction lets a node set only some labels below `kubernetes.io` and `k8s.io`; one that it refuses would
//! make every registration fail, so it is refused here, by name (`pkg/apis/well_known_labels.go` of `k8s.io/kubelet`,
//! `ValidateKubeletFlags` in `cmd/kubelet/app/options/options.go`).

use std::collections::BTreeMap;

use crate::source::validate::names;

/// The names below `kubernetes.io` and `k8s.io` that a node may set on itself.
const ALLOWED: [&str; 11] = [
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/instance-type",
    "beta.kubernetes.io/os",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "kubernetes.io/arch",
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
];
/// Prefixes, and everything below them, under which any name is allowed.
const ALLOWED_PREFIXES: [&str; 2] = ["kubelet.kubernetes.io", "node.kubernetes.io"];

/// The labels, or one reason for each that cannot be set.
pub(super) fn read(pairs: &[String]) -> Result<BTreeMap<String, String>, Vec<String>> {
    let mut labels = BTreeMap::new();
    let mut faults = Vec::new();
    for pair in pairs.iter().map(|pair| pair.trim()).filter(|pair| !pair.is_empty()) {
        match one(pair) {
            Ok((key, value)) => drop(labels.insert(key.to_owned(), value.to_owned())),
            Err(reason) => faults.push(reason),
        }
    }
    if faults.is_empty() { Ok(labels) } else { Err(faults) }
}

fn one(pair: &str) -> Result<(&str, &str), String> {
    let (key, value) = pair.split_once('=').ok_or_else(|| format!("{pair:?} is not key=value"))?;
    names::qualified(key).map_err(|reason| format!("{key:?} is no label: {reason}"))?;
    names::label_value(value).map_err(|reason| format!("the value of {key:?} {reason}"))?;
    if is_kubernetes(key) && !is_allowed(key) {
        return Err(format!(
            "a node may not set {key:?} on itself; below kubernetes.io and k8s.io it may set {}, and any name with \
             the prefix {}",
            ALLOWED.join(", "),
            ALLOWED_PREFIXES.join(" or ")
        ));
    }
    Ok((key, value))
}

fn prefix(key: &str) -> &str {
    key.split_once('/').map_or("", |(prefix, _)| prefix)
}

fn is_at_or_below(name: &str, parent: &str) -> bool {
    name == parent || name.strip_suffix(parent).is_some_and(|rest| rest.ends_with('.'))
}

fn is_kubernetes(key: &str) -> bool {
    ["kubernetes.io", "k8s.io"].iter().any(|parent| is_at_or_below(prefix(key), parent))
}

fn is_allowed(key: &str) -> bool {
    ALLOWED.contains(&key) || ALLOWED_PREFIXES.iter().any(|parent| is_at_or_below(prefix(key), parent))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(pair: &str, fault: Option<&str>) {
        let read = read(&[pair.to_owned()]);
        match fault {
            None => assert_eq!(read.unwrap().len(), 1, "{pair}"),
            Some(part) => {
                let faults = read.unwrap_err();
                assert!(faults.iter().any(|fault| fault.contains(part)), "{pair}: {faults:?}");
            }
        }
    }

    #[test]
    fn own_names_and_the_allowed_ones_pass() {
        check("rack=r1", None);
        check("example.com/tier=", None);
        check("topology.kubernetes.io/zone=a", None);
        check("node.kubernetes.io/anything=x", None);
        check("pool.kubelet.kubernetes.io/x=y", None);
        check("notkubernetes.io/x=y", None);
    }

    #[test]
    fn a81_what_node_restriction_refuses_is_named() {
        check("node-restriction.kubernetes.io/tier=gold", Some("\"node-restriction.kubernetes.io/tier\""));
        check("node-role.kubernetes.io/worker=", Some("may not set"));
        check("x.k8s.io/y=z", Some("may not set"));
    }

    #[test]
    fn what_is_no_label_says_why() {
        check("rack", Some("not key=value"));
        check("-a=b", Some("is no label"));
        check("a=b c", Some("the value of"));
    }

    proptest! {
        /// Whatever is accepted, NodeRestriction accepts too.
        #[test]
        fn a81_nothing_forbidden_passes(
            sub in "([a-z]{1,4}\\.){0,2}", domain in prop::sample::select(vec![
                "kubernetes.io", "k8s.io", "node-restriction.kubernetes.io", "node.kubernetes.io", "example.com",
            ]), name in "[a-z]{1,8}"
        ) {
            let key = format!("{sub}{domain}/{name}");
            if read(&[format!("{key}=v")]).is_ok() {
                prop_assert!(!key.contains("node-restriction."));
                prop_assert!(!is_kubernetes(&key) || is_allowed(&key));
            }
        }
    }
}
