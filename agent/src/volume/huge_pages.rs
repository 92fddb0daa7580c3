//! The size of the pages of a volume in huge pages: one that the pod asks for as a resource. Pure; rule and texts are
//! those of `pkg/volume/emptydir/empty_dir.go`.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{PodSpec, ResourceRequirements};

use crate::pod::resources::hugepage_size;
use crate::quantity::Quantity;

/// The medium, alone or with the size of a page behind it.
const MEDIUM: &str = "HugePages";

/// Whether a medium is huge pages, and of which size in bytes if it says so: 0 for a size that is none, which no pod can
/// ask for.
pub(super) fn of_medium(medium: &str) -> Option<Option<i64>> {
    match medium.strip_prefix(MEDIUM)? {
        "" => Some(None),
        size => {
            let size = size.strip_prefix('-')?;
            Some(Some(Quantity::parse(size).map_or(0, |size| size.value())))
        }
    }
}

/// The size of the pages in bytes: that which the medium names, else the only one that the pod asks for.
pub(super) fn page_size(named: Option<i64>, spec: Option<&PodSpec>) -> Result<u64, String> {
    let asked: BTreeSet<i64> = spec.into_iter().flat_map(asked).collect();
    let size = match named {
        Some(named) => asked.get(&named).copied(),
        None if asked.len() > 1 => {
            return Err(format!(
                "medium: {MEDIUM} can't be used if container requests multiple huge page sizes"
            ));
        }
        None => asked.first().copied(),
    };
    let size = size.and_then(|size| u64::try_from(size).ok());
    size.ok_or_else(|| {
        let medium = match named {
            Some(named) => format!("{MEDIUM}-{}", crate::node::amount::bytes(named).0),
            None => MEDIUM.to_owned(),
        };
        format!(
            "medium {medium}: hugePages storage requested, but there is no resource request for huge pages"
        )
    })
}

/// Sizes of pages that the pod or a container of it asks for.
fn asked(spec: &PodSpec) -> impl Iterator<Item = i64> {
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let all = containers.map(|container| &container.resources).chain([&spec.resources]).flatten();
    let names = all.flat_map(|ResourceRequirements { claims: _, limits, requests }| {
        limits.iter().chain(requests).flatten().map(|(name, _)| name.as_str())
    });
    names.filter_map(hugepage_size)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const MI2: u64 = 2 << 20;
    const GI: u64 = 1 << 30;

    fn size(medium: &str, resources: &[Value]) -> Result<u64, String> {
        let container = |resources: &Value| json!({ "name": "c", "resources": resources });
        let containers: Vec<_> = resources.iter().map(container).collect();
        let spec: PodSpec = serde_json::from_value(json!({ "containers": containers })).unwrap();
        page_size(of_medium(medium).unwrap(), Some(&spec))
    }

    #[test]
    fn a_medium_may_name_a_size() {
        for other in ["Memory", "HugePages2Mi", "Huge", ""] {
            assert_eq!(of_medium(other), None, "{other}");
        }
        let cases = [
            ("HugePages", None),
            ("HugePages-2Mi", Some(2 << 20)),
            ("HugePages-1Gi", Some(1 << 30)),
            ("HugePages-x", Some(0)),
        ];
        for (medium, size) in cases {
            assert_eq!(of_medium(medium), Some(size), "{medium}");
        }
    }

    #[test]
    fn the_pod_asks_for_pages_of_that_size() {
        let (small, large) = (
            json!({ "limits": { "hugepages-2Mi": "4Mi" } }),
            json!({ "requests": { "hugepages-1Gi": "1Gi" } }),
        );
        let plain = json!({ "limits": { "memory": "1Gi" } });
        assert_eq!(size("HugePages", &[plain.clone(), small.clone()]), Ok(MI2));
        assert_eq!(size("HugePages", &[small.clone(), small.clone()]), Ok(MI2));
        assert_eq!(size("HugePages-1Gi", &[small.clone(), large.clone()]), Ok(GI));
        assert_eq!(
            size("HugePages", &[small.clone(), large]).unwrap_err(),
            "medium: HugePages can't be used if container requests multiple huge page sizes"
        );
        let none = ": hugePages storage requested, but there is no resource request for huge pages";
        assert_eq!(size("HugePages", &[plain]).unwrap_err(), format!("medium HugePages{none}"));
        for medium in ["HugePages-1Gi", "HugePages-x"] {
            assert!(size(medium, std::slice::from_ref(&small)).unwrap_err().ends_with(none));
        }
    }

    #[test]
    fn a_pods_own_resources_count_too() {
        let spec = json!({ "containers": [{ "name": "c" }], "resources": { "requests": { "hugepages-2Mi": "2Mi" } } });
        let spec: PodSpec = serde_json::from_value(spec).unwrap();
        assert_eq!(page_size(None, Some(&spec)), Ok(MI2));
    }
}
