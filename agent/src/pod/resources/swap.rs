//! Keeps containers from swap, or lets some have their share of it. Pure (`pkg/kubelet/kuberuntime`).

use k8s_openapi::api::core::v1::{Container, PodSpec};
use pinnace_cri::v1::LinuxContainerResources;

use super::sums::{limit, request, whole};
use super::{Node, Qos, is_critical, qos};

/// How containers are kept from swap.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Swap {
    /// The kernel does not account for it: nothing can be set.
    #[default]
    Uncounted,
    /// cgroup v1: memory and swap together are limited to the limit of memory.
    Together,
    /// cgroup v2: none (`memorySwap.swapBehavior: NoSwap`).
    Never,
    /// cgroup v2: burstable containers have a share of the machine's swap, in bytes, as large as that of the machine's
    /// memory which they ask for (`LimitedSwap`).
    Shared(i64),
}

/// Sets it.
pub(super) fn keep_from(
    set: &mut LinuxContainerResources,
    spec: &PodSpec,
    container: &Container,
    node: &Node,
) {
    let most = match node.swap {
        Swap::Uncounted => return,
        Swap::Together => {
            set.memory_swap_limit_in_bytes = set.memory_limit_in_bytes;
            return;
        }
        Swap::Never => 0,
        Swap::Shared(total) => share(spec, container, node.memory, total),
    };
    set.unified.insert("memory.swap.max".to_owned(), most.to_string());
}

/// None for critical pods, other classes, and containers whose memory is not lent beyond what they ask for.
fn share(spec: &PodSpec, container: &Container, memory: i64, total: i64) -> i64 {
    let needs = container.resources.as_ref();
    let (asked, limited) = (whole(request(needs, "memory")), whole(limit(needs, "memory")));
    if is_critical(spec) || qos(spec) != Qos::Burstable || asked == 0 || asked == limited {
        return 0;
    }
    let share = i128::from(asked) * i128::from(total) / i128::from(memory.max(1));
    i64::try_from(share).unwrap_or(i64::MAX).min(total)
}
