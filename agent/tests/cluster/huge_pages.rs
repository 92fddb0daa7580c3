//! A volume in huge pages, used from inside. Needs a machine that has some free.

use std::time::Instant;

use serde_json::json;

use crate::case::{Case, SOON, pod};
use crate::control_plane::ControlPlane;
use crate::say;

/// How many pages of 2 MiB nobody uses.
const FREE: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages";
/// Takes one page and tells of the volume.
const USE: &str = "trap 'exit 0' TERM; fallocate -l 2097152 /huge/file && stat -f -c '%s' /huge; \
                   grep ' /huge ' /proc/mounts | cut -d' ' -f3; sleep 100000 & wait";

fn free() -> u64 {
    let text = std::fs::read_to_string(FREE).unwrap_or_default();
    text.trim().parse().unwrap_or_default()
}

pub(crate) fn a_pod_has_the_huge_pages_that_it_asks_for(cluster: &ControlPlane) {
    let before = free();
    if before < 2 {
        say(&format!(
            "SKIPPED huge pages: the machine has {before} free pages of 2 MiB, see vm.nr_hugepages"
        ));
        return;
    }
    let case = Case::start(cluster, "huge-pages");
    let mut web = pod("web", "Always", USE);
    let container = &mut web["spec"]["containers"][0];
    container["resources"] = json!({ "limits": { "hugepages-2Mi": "4Mi", "memory": "64Mi", "cpu": "100m" } });
    container["volumeMounts"] = json!([{ "name": "huge", "mountPath": "/huge" }]);
    web["spec"]["volumes"] = json!([{ "name": "huge", "emptyDir": { "medium": "HugePages" } }]);
    case.namespace.create(&web);
    case.until_phase("web", "Running");
    let logs = || {
        let logs = case.namespace.try_kubectl(&["logs", "web"])?;
        if logs.lines().eq(["2097152", "hugetlbfs"]) { Ok(()) } else { Err(logs) }
    };
    case.agent.until("the volume from inside", Instant::now(), SOON, logs);
    assert_eq!(free(), before - 1, "one page is in use");
    case.namespace.kubectl(&["delete", "pod", "web", "--wait=false"]);
    case.until_nothing_is_left();
    assert_eq!(free(), before, "it is given back");
    case.agent.a80_was_never_refused();
}
