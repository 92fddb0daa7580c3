//! Cgroups of pods on a kernel with cgroup v2, whatever the machine has: this program runs itself in a guest
//! (`deploy/vm/uml`) and there those of its tests that are ignored outside. The runtime is the fake one; cgroups,
//! processes and limits are the guest kernel's.
//!
//! Without the script that `PINNACE_TEST_GUEST` names the test prints SKIPPED and why; with `PINNACE_TEST_REQUIRE_REAL=1`
//! it fails instead. `make test` sets both.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "../harness/mod.rs"]
mod harness;

mod guest;

use std::io::Write;
use std::process::Command;

#[test]
fn cgroups_of_pods_on_a_kernel_with_cgroup_v2() {
    let Some(script) = std::env::var_os("PINNACE_TEST_GUEST") else {
        assert!(std::env::var_os("PINNACE_TEST_REQUIRE_REAL").is_none(), "PINNACE_TEST_GUEST is not set");
        // Past the capture of output; nothing can be done about a closed stderr.
        let _ =
            writeln!(std::io::stderr(), "SKIPPED cgroups on a real kernel: PINNACE_TEST_GUEST is not set");
        return;
    };
    let program = std::env::current_exe().unwrap();
    let arguments = ["guest::", "--ignored", "--test-threads=1"];
    let guest = Command::new(script).arg(program).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&guest.stdout);
    let trouble = String::from_utf8_lossy(&guest.stderr);
    assert!(guest.status.success(), "{}\n{said}\n{trouble}", guest.status);
    let passed = said.lines().find_map(|line| line.strip_prefix("test result: ok. ")).unwrap_or_default();
    assert!(passed.starts_with("6 passed; 0 failed"), "{said}");
}
