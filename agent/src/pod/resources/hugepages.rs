//! Huge pages: their names in specs and messages, and the limits of a container. Pure.

use pinnace_cri::v1::HugepageLimit;

use crate::quantity::Quantity;

/// How resources of huge pages begin; the size of a page follows.
pub const LIST: &str = "hugepages-";

/// Page size in bytes from a resource's name such as `hugepages-2Mi`.
#[must_use]
pub fn size_of(resource: &str) -> Option<i64> {
    let size = Quantity::parse(resource.strip_prefix(LIST)?).ok()?.value();
    (size > 0).then_some(size)
}

/// A page size as the kernel and the runtime write it: `2MB`, `1GB`, `64KB`.
#[must_use]
pub fn unit(size: i64) -> String {
    let units = ["B", "KB", "MB", "GB", "TB"];
    let (mut left, mut index) = (size, 0_usize);
    while left >= 1024 && left % 1024 == 0 && index + 1 < units.len() {
        (left, index) = (left / 1024, index + 1);
    }
    format!("{left}{}", units.get(index).copied().unwrap_or_default())
}

/// A limit for every page size of the machine: what the container asks for, else none at all
/// (`GetHugepageLimitsFromResources` in `pkg/kubelet/kuberuntime`).
pub(super) fn limits(sizes: &[i64], limited: impl Fn(&str) -> i64) -> Vec<HugepageLimit> {
    let limit = |size: &i64| HugepageLimit {
        page_size: unit(*size),
        limit: u64::try_from(limited(&resource(*size))).unwrap_or(0),
    };
    sizes.iter().map(limit).collect()
}

/// A page size as a resource's name. Validation allows no other spelling of it.
fn resource(size: i64) -> String {
    format!("{LIST}{}", crate::node::amount::bytes(size).0)
}
