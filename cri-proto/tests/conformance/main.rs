//! What Pinnace relies on in a runtime, as cases that run against the fake runtime and against real containerds.
//!
//! The fake always runs. Real runtimes are named by the environment variable `PINNACE_TEST_CONTAINERD_SOCKETS`
//! (`name=unix:///path`, separated by commas); they must hold the image that `PINNACE_TEST_IMAGE` names (default
//! `pinnace.local/busybox:1.35`). Without it that test says SKIPPED. Each case removes what it made.
#![cfg(feature = "fake")]
#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by them, in its helpers too")]

mod bench;
mod containers;
mod events;
mod exec;
mod images;
mod logs;
mod names;
mod sandboxes;

use std::time::Duration;

use bench::{Bench, Case, Failure, Target, case};
use pinnace_cri::client::{Client, Deadlines};
use pinnace_cri::fake::{Fake, Logs, Options};

/// One case must not hold up the others for longer.
const CASE_LIMIT: Duration = Duration::from_secs(60);

macro_rules! cases {
    ($($module:ident::$name:ident,)+) => {
        /// Every case, by name.
        fn all() -> Vec<(&'static str, Case)> {
            vec![$((stringify!($name), case($module::$name))),+]
        }

        mod fake {
            $(#[tokio::test(start_paused = true)]
            async fn $name() {
                super::against_the_fake(super::case(super::$module::$name)).await;
            })+
        }
    };
}

cases! {
    sandboxes::a_sandbox_runs_is_stopped_twice_and_removed_twice,
    sandboxes::sandbox_lists_are_filtered,
    sandboxes::stopping_a_sandbox_kills_its_containers,
    sandboxes::removing_a_sandbox_removes_its_containers,
    sandboxes::the_runtime_tells_what_it_is,
    containers::a_container_goes_one_way_through_its_states,
    containers::exit_codes_and_times_are_kept,
    containers::container_lists_are_filtered,
    containers::stop_lets_the_process_end_by_itself,
    containers::stop_kills_after_the_grace,
    containers::containers_are_removed_in_every_state,
    containers::only_a_container_that_was_never_started_is_started,
    containers::a_container_that_cannot_start_exits_with_128,
    names::what_does_not_exist_is_not_found,
    names::what_does_not_exist_is_stopped_and_removed,
    names::the_name_of_a_sandbox_is_reserved_until_its_removal,
    names::the_name_of_a_container_is_reserved_until_its_removal,
    logs::output_is_written_in_the_cri_format,
    exec::a_command_has_output_and_an_exit_code,
    exec::a_command_that_takes_too_long_is_a_timeout,
    exec::a_command_that_is_not_there_is_an_error,
    events::each_step_of_a_container_is_an_event,
    images::an_image_is_known_by_its_name_or_not_at_all,
}

/// Runs one case and removes what it made, whatever came of it.
async fn run(client: &Client, target: &Target, case: &Case) -> Result<(), Failure> {
    let bench = Bench::new(client.clone(), target.clone());
    let outcome = tokio::time::timeout(CASE_LIMIT, case(bench.clone())).await;
    let cleaned = bench.clean().await;
    outcome.unwrap_or_else(|_| Err(Failure(format!("not done within {CASE_LIMIT:?}"))))?;
    cleaned
}

async fn against_the_fake(case: Case) {
    let root = tempfile::tempdir().expect("a directory for logs");
    let fake = Fake::new(Options { logs: Logs::Files, ..Options::default() });
    let target = Target {
        name: "fake".to_owned(),
        image: "pinnace.local/busybox:1.35".to_owned(),
        has_events: true,
        has_runtime_config: true,
        has_network: true,
        log_root: root.path().to_owned(),
    };
    if let Err(Failure(why)) = run(&fake.client(), &target, &case).await {
        panic!("{why}");
    }
    let left = fake.snapshot();
    assert!(left.sandboxes.is_empty() && left.containers.is_empty(), "the case left something: {left:?}");
    assert_eq!(fake.addresses_in_use(), 0);
}

/// What a real runtime offers, asked of itself.
async fn probed(name: &str, client: &Client, log_root: &std::path::Path) -> Result<Target, Failure> {
    let has_events = match client.events().await {
        Ok(_) => true,
        Err(error) if error.is_unimplemented() => false,
        Err(error) => return Err(error.into()),
    };
    let has_runtime_config = match client.runtime_config().await {
        Ok(_) => true,
        Err(error) if error.is_unimplemented() => false,
        Err(error) => return Err(error.into()),
    };
    let conditions = client.status(false).await?.status.unwrap_or_default().conditions;
    let has_network = conditions.iter().any(|c| c.r#type == "NetworkReady" && c.status);
    let image =
        std::env::var("PINNACE_TEST_IMAGE").unwrap_or_else(|_| "pinnace.local/busybox:1.35".to_owned());
    let log_root = log_root.to_owned();
    Ok(Target { name: name.to_owned(), image, has_events, has_runtime_config, has_network, log_root })
}

#[tokio::test]
async fn real_containerd() {
    let Ok(sockets) = std::env::var("PINNACE_TEST_CONTAINERD_SOCKETS") else {
        println!("SKIPPED real containerd: PINNACE_TEST_CONTAINERD_SOCKETS is not set");
        return;
    };
    let root = tempfile::tempdir().expect("a directory for logs");
    let mut failures = Vec::new();
    for socket in sockets.split(',').filter(|socket| !socket.is_empty()) {
        let (name, endpoint) = socket.split_once('=').expect("written name=unix:///path");
        let client = Client::connect_lazy(endpoint, None, Deadlines::default()).expect("a Unix socket");
        let target = match probed(name, &client, root.path()).await {
            Ok(target) => target,
            Err(Failure(why)) => panic!("{name} does not answer: {why}"),
        };
        println!("{name}: {target:?}");
        for (title, case) in all() {
            let outcome = run(&client, &target, &case).await;
            println!("{name} {title}: {}", if outcome.is_ok() { "ok" } else { "FAILED" });
            failures.extend(outcome.err().map(|Failure(why)| format!("{name} {title}: {why}")));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
