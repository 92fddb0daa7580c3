//! A real control plane, started by `deploy/dev/cluster`; kubectl is the witness.
//!
//! `make test` runs one cluster for the cases that only use it: each has a namespace and a node name of its own,
//! and the scheduler keeps a namespace's pods on the nodes with its label. A case that takes the API server away
//! starts a cluster of its own. Without the variables of `make test` a case prints SKIPPED and why; with
//! `PINNACE_TEST_REQUIRE_CLUSTER=1` it fails instead.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by them, in its helpers too"
)]
#![allow(clippy::indexing_slicing, reason = "answers of the API server are read by their known keys")]
#![expect(clippy::disallowed_methods, reason = "real processes live in real time; every wait has a deadline")]

mod admin;
mod agent;
mod bad_input;
mod canary;
mod case;
mod control_plane;
mod credentials;
mod deletes;
mod environment;
mod huge_pages;
mod images;
mod live_updates;
mod logs;
mod namespace;
mod network;
mod node;
mod outage;
mod own_runtime;
mod registry;
mod restarts;
#[expect(dead_code, reason = "the tests of real runtimes use all of it")]
#[path = "../real/runtime.rs"]
mod runtime;
mod runtime_class;
mod takeover;
#[path = "../tcp_proxy/mod.rs"]
mod tcp_proxy;
mod trust;
mod virtual_nodes;
mod volumes;
mod witness;
mod workloads;

use std::io::Write;

use control_plane::ControlPlane;

/// Prints past the capture of output, so that it shows without `--nocapture`.
fn say(line: &str) {
    // Nothing can be done about a closed stderr.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Runs a case, or says why not.
fn on_cluster(case: &str, run: fn(&ControlPlane)) {
    match ControlPlane::shared() {
        Ok(cluster) => run(&cluster),
        Err(missing) => {
            let line = format!("SKIPPED real control plane, {case}: {missing}");
            assert!(
                std::env::var_os("PINNACE_TEST_REQUIRE_CLUSTER").is_none(),
                "must not be skipped: {line}"
            );
            say(&line);
        }
    }
}

macro_rules! cases {
    ($($module:ident::$case:ident,)+) => {
        $(#[test]
        fn $case() {
            on_cluster(stringify!($case), $module::$case);
        })+
    };
}

cases! {
    credentials::a_node_reaches_only_what_is_its_own,
    credentials::a_client_with_a_nodes_credentials_lists_its_pods,
    namespace::a_pod_gets_its_volume_and_its_node,
    workloads::a_deployment_of_20_comes_scales_rolls_and_goes,
    workloads::a_job_ends_as_its_exit_code_says,
    workloads::a_daemon_set_has_a_pod_on_each_node,
    environment::each_source_of_the_environment_is_read_inside,
    environment::names_are_looked_up_in_files_that_are_right_to_the_byte,
    deletes::b05_pods_deleted_while_the_agent_is_away_go_when_it_is_back,
    deletes::b66_the_same_name_again_is_another_pod,
    deletes::a_graceful_delete_keeps_its_grace_and_a_shorter_one_shortens_it,
    deletes::a_finalizer_of_others_keeps_the_object_and_not_the_containers,
    live_updates::changes_reach_files_within_two_seconds,
    live_updates::one_pod_follows_150_objects,
    live_updates::changes_reach_many_pods_within_two_seconds,
    logs::kubectl_logs_with_its_options,
    logs::describe_shows_events_in_the_order_users_expect,
    node::a_new_node_is_ready_within_a_second,
    node::the_node_and_its_lease_are_as_a_kubelets,
    node::configz_decodes_as_the_kubelets_configuration,
    node::a_pod_finds_its_token_authority_and_namespace,
    images::a45_a_private_image_is_for_pods_with_its_secret,
    images::a45_a_provider_is_given_the_token_of_the_pods_account,
    images::b54_a_registry_that_goes_silent_in_a_layer_is_asked_again,
    images::b54_slow_registries_leave_a_place_and_a_pull_says_how_far_it_is,
    volumes::a23_a33_each_kind_has_its_files_modes_and_owners,
    volumes::a_directory_outlives_containers_and_the_agent_and_labels_are_followed,
    canary::a32_a_canary_is_in_no_file_of_a_disk,
    volumes::a31_what_cannot_be_mounted_is_told_and_comes_when_it_can,
    huge_pages::a_pod_has_the_huge_pages_that_it_asks_for,
    restarts::b34_b36_kill_9_and_start_change_nothing_that_others_see,
    trust::certificates_that_the_cluster_vouches_for_are_inside_and_follow,
    runtime_class::a_pod_runs_with_the_handler_and_the_overhead_of_its_class,
    virtual_nodes::two_virtual_nodes_share_a_runtime_and_nothing_else,
    takeover::what_a_kubelet_started_is_taken_over_as_it_runs,
    network::b62_a_black_holed_watch_is_noticed_and_nothing_is_missed,
    bad_input::a_wrong_authority_is_named,
    bad_input::an_expired_certificate_is_named,
    bad_input::a_kubeconfig_without_a_server_is_named,
    bad_input::a_node_of_another_machine_is_not_taken,
    bad_input::a_clock_that_is_an_hour_off_is_named,
    bad_input::pods_run_on_while_the_credentials_are_wrong,
    outage::b60_b61_pods_go_on_without_the_api_server,
    outage::the_api_server_goes_and_comes_back_with_its_objects,
}
