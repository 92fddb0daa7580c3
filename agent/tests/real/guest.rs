//! Cases that need a kernel with cgroup v2: this program runs itself in a user-mode-linux guest (`deploy/vm/node`) on
//! a real containerd there, and in it those of its tests that are ignored here. `PINNACE_TEST_GUEST` names the script
//! that runs a program in a guest.
//!
//! With `PINNACE_TEST_ALL=1` the cases of every machine run there as well, but for those that measure or that churn.

use std::path::PathBuf;
use std::process::Command;

use crate::{dual_stack, pod_cgroups, say};

/// Variable: the script that runs a program in a guest.
const GUEST: &str = "PINNACE_TEST_GUEST";

/// Runs this program in a guest with these containerds; what it said.
fn run(versions: &str, seconds: u32, arguments: &[&str]) -> String {
    let script = PathBuf::from(std::env::var_os(GUEST).expect("asked before"));
    let guest = Command::new(&script)
        .env("UML_MEMORY", "1G")
        .env("UML_SECONDS", seconds.to_string())
        .arg(script.with_file_name("node"))
        .arg(versions)
        .arg(std::env::current_exe().expect("this program"))
        .args(["--test-threads=1"])
        .args(arguments)
        .output();
    let guest = guest.expect("the script runs");
    let said = String::from_utf8_lossy(&guest.stdout).into_owned();
    let trouble = String::from_utf8_lossy(&guest.stderr);
    assert!(guest.status.success(), "{}\n{said}\n{trouble}", guest.status);
    said
}

fn has_guest(case: &str) -> bool {
    let there = std::env::var_os(GUEST).is_some();
    if !there {
        let line = format!("SKIPPED {case}: {GUEST} is not set");
        assert!(std::env::var_os("PINNACE_TEST_REQUIRE_REAL").is_none(), "must not be skipped: {line}");
        say(&line);
    }
    there
}

#[test]
fn pods_on_a_kernel_with_cgroup_v2() {
    if !has_guest("pods on a kernel with cgroup v2") {
        return;
    }
    let said = run("2.2", 240, &["guest::inside::", "--ignored"]);
    let passed = said.lines().find_map(|line| line.strip_prefix("test result: ok. ")).unwrap_or_default();
    assert!(passed.starts_with("4 passed; 0 failed"), "{said}");
}

/// A guest has one slow processor: what is measured there, or done a hundred times, says nothing in its time.
const NOT_THERE: [&str; 5] = ["kill_9", "a20_", "b56_", "an_exit_is_seen_soon", "guest::"];

#[test]
fn the_cases_of_every_machine_on_a_kernel_with_cgroup_v2() {
    let case = "the cases of every machine on a kernel with cgroup v2";
    if std::env::var_os("PINNACE_TEST_ALL").is_none() {
        say(&format!("NOT RUN {case}: `make test-all` does"));
        return;
    }
    if !has_guest(case) {
        return;
    }
    let skipped = NOT_THERE.iter().flat_map(|name| ["--skip", name]);
    let arguments: Vec<_> = std::iter::once("v2_2::").chain(skipped).collect();
    say(&run("2.2", 1800, &arguments));
}

/// What runs in the guest.
mod inside {
    use super::{dual_stack, pod_cgroups};

    macro_rules! inside {
        ($($module:ident::$case:ident,)+) => {
            $(#[test]
            #[ignore = "runs in the guest"]
            fn $case() {
                crate::on("2.2", stringify!($case), $module::$case);
            })+
        };
    }

    inside! {
        pod_cgroups::b79_pods_of_each_class_have_their_place_and_lose_it,
        pod_cgroups::limits_of_pods_kill_and_refuse,
        pod_cgroups::swap_is_refused_or_shared_as_configured,
        dual_stack::a_pod_has_addresses_of_both_families_the_nodes_first_one_first,
    }
}
