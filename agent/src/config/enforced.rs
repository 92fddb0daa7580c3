//! What `enforceNodeAllocatable` can ask for beside the limit of all pods: that a reservation is also the limit of the
//! cgroup of those who reserved it. Pure (`pkg/kubelet/cm/node_container_manager_linux.go`).

use std::collections::BTreeMap;

use super::file::KubeletConfiguration;
use crate::quantity::Quantity;

/// Words that `enforceNodeAllocatable` may hold (`pkg/kubelet/types/constants.go`).
pub const ENFORCEABLE: [&str; 6] = [
    "pods",
    "none",
    "system-reserved",
    "system-reserved-compressible",
    "kube-reserved",
    "kube-reserved-compressible",
];

/// A reservation that is a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enforced {
    /// The word.
    pub word: &'static str,
    /// The key that names its cgroup.
    pub key: &'static str,
    /// Of the CPU alone, which is taken back from who has too much of it.
    pub is_compressible: bool,
    is_system: bool,
}

impl Enforced {
    /// What a word asks for; none for `pods`, `none` and words that are not known.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        let word = *ENFORCEABLE.iter().find(|known| **known == word)?;
        let is_system = word.starts_with("system-");
        let key = match word {
            "pods" | "none" => return None,
            _ if is_system => "systemReservedCgroup",
            _ => "kubeReservedCgroup",
        };
        Some(Self { word, key, is_compressible: word.ends_with("-compressible"), is_system })
    }

    /// The cgroup that is limited, if it is named.
    #[must_use]
    pub fn cgroup<'a>(&self, file: &'a KubeletConfiguration) -> Option<&'a str> {
        let named = if self.is_system { &file.system_reserved_cgroup } else { &file.kube_reserved_cgroup };
        named.as_deref().filter(|name| !name.trim_matches('/').is_empty())
    }

    /// What is reserved, by resource name. Amounts that cannot be read are the range check's matter.
    #[must_use]
    pub fn amounts(&self, file: &KubeletConfiguration) -> BTreeMap<String, Quantity> {
        let listed = if self.is_system { &file.system_reserved } else { &file.kube_reserved };
        let counts = |name: &str| !self.is_compressible || name == "cpu";
        let listed = listed.iter().flatten().filter(|(name, _)| counts(name));
        listed.filter_map(|(name, text)| Some((name.clone(), Quantity::parse(text).ok()?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_word_names_its_cgroup_and_its_amounts() {
        let file: KubeletConfiguration = serde_json::from_value(json!({
            "kubeReserved": {"cpu": "1", "memory": "1Gi"}, "kubeReservedCgroup": "/node/kube",
            "systemReserved": {"pid": "100"}, "systemReservedCgroup": "/",
        }))
        .unwrap();
        let of = |word: &str| Enforced::parse(word).unwrap();
        let names = |word: &str| of(word).amounts(&file).into_keys().collect::<Vec<_>>();
        assert_eq!(of("kube-reserved").cgroup(&file), Some("/node/kube"));
        assert_eq!(of("system-reserved").cgroup(&file), None, "the root is nobody's");
        assert_eq!(names("kube-reserved"), ["cpu", "memory"]);
        assert_eq!(names("kube-reserved-compressible"), ["cpu"]);
        assert_eq!(names("system-reserved"), ["pid"]);
        assert!(["pods", "none", "kube"].iter().all(|word| Enforced::parse(word).is_none()));
    }
}
