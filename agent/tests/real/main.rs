//! The agent as people run it, a process of its own, against real containerds; `crictl` is the second witness.
//!
//! Each case runs on both runtimes that `PINNACE_TEST_CONTAINERD_SOCKETS` names (`debian=unix:///path,2.2=…`), in
//! a root directory, with a node name and pods of its own, so that cases run side by side. Cases that kill
//! containerd start an instance of their own by the script `PINNACE_TEST_CONTAINERD` and wipe it at the end.
//! Without these variables, root or `CRICTL` a case prints SKIPPED and why; with `PINNACE_TEST_REQUIRE_REAL=1` it
//! fails instead. `make test` sets all of them.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by them, in its helpers too"
)]
#![allow(clippy::indexing_slicing, reason = "answers of crictl are read by their known keys")]
#![expect(clippy::disallowed_methods, reason = "real processes live in real time; every wait has a deadline")]

mod agree;
mod confined;
mod cut;
mod dual_stack;
mod ends;
mod foreign;
mod grace;
mod guest;
mod hung;
mod kills;
mod latency;
mod manifest;
mod manifests;
mod node;
mod objects;
mod own;
mod parts;
mod pod_cgroups;
mod racers;
mod removal;
mod runtime;
mod same;
mod shims;
mod spec;
mod traces;
mod users;

use std::io::Write;

use runtime::Runtime;

/// Prints past the capture of output, so that it shows without `--nocapture`.
fn say(line: &str) {
    // Nothing can be done about a closed stderr.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Runs a case on a runtime, or says why not.
fn on(version: &str, case: &str, run: fn(&Runtime)) {
    match Runtime::named(version) {
        Ok(runtime) => run(&runtime),
        Err(missing) => {
            let line = format!("SKIPPED real containerd {version}, {case}: {missing}");
            assert!(std::env::var_os("PINNACE_TEST_REQUIRE_REAL").is_none(), "must not be skipped: {line}");
            say(&line);
        }
    }
}

macro_rules! on_both {
    ($($module:ident::$case:ident,)+) => {
        mod debian {
            $(#[test]
            fn $case() {
                super::on("debian", stringify!($case), super::$module::$case);
            })+
        }

        mod v2_2 {
            $(#[test]
            fn $case() {
                super::on("2.2", stringify!($case), super::$module::$case);
            })+
        }
    };
}

/// Cases of what the agent does by itself: one runtime is enough.
macro_rules! on_one {
    ($($module:ident::$case:ident,)+) => {
        mod agent {
            $(#[test]
            fn $case() {
                super::on("debian", stringify!($case), super::$module::$case);
            })+
        }
    };
}

on_one! {
    foreign::a25_a_foreign_mount_is_told_and_never_entered,
    foreign::a25_b79_orphans_go_and_what_is_not_theirs_stays,
    foreign::a35_a_message_file_in_a_shared_volume_goes_with_its_pod,
    hung::b78_a_mount_that_hangs_stalls_only_its_pods,
}

on_both! {
    kills::kill_9_of_the_agent_during_churn_changes_no_container,
    kills::b01_kill_9_of_containerd_is_harmless_and_leaks_nothing,
    cut::b56_kill_9_of_the_agent_in_the_making_leaks_nothing,
    cut::b56_kill_9_of_containerd_in_the_making_leaves_nothing_listed,
    cut::b56_a_network_that_fails_and_dawdles_leaks_nothing,
    agree::crictl_agrees_with_the_agent,
    agree::a_pod_has_an_address_that_answers,
    confined::the_process_is_what_the_spec_says,
    confined::what_cannot_be_enforced_does_not_run,
    ends::exit_codes_and_restart_policies,
    ends::last_words_become_the_message,
    grace::a_deaf_container_is_killed_after_its_grace,
    grace::a_container_that_honours_term_ends_at_once,
    latency::an_exit_is_seen_soon,
    manifests::a_broken_edit_changes_nothing,
    manifests::an_edit_replaces_the_pod_and_never_runs_two,
    parts::parts_of_volumes_are_shown_as_the_spec_asks,
    racers::a20_a_racer_never_shows_the_hosts_files,
    same::a40_the_images_user_is_the_same_every_time,
    parts::an_image_is_a_volume_where_the_runtime_can_mount_it,
    objects::a67_files_of_objects_are_the_source_of_volumes,
    removal::i6_a_removed_manifest_leaves_nothing,
    removal::b05_a_manifest_removed_while_the_agent_is_down,
    shims::b58_a_killed_shim_is_an_exit,
    spec::limits_reach_the_cgroup,
    spec::the_security_context_reaches_the_process,
    spec::refused_and_held_pods_run_nothing,
    spec::the_nodes_network_and_host_ports,
    users::pods_have_users_of_their_own_or_are_refused,
}
