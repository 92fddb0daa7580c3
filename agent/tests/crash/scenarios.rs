//! The scenarios of B30: what happens to pods while the agent dies at one of its points.
//!
//! A scenario says what people and processes do and what must come of it. It knows nothing of the death.

use pinnace_cri::fake::{Call, FaultKind, FaultRule, Script, Select};
use pinnace_cri::v1::PodSandboxState;
use std::time::Duration;

use super::child::NODE;
use super::history::{Seen, names_in, runs};
use super::rig::{Rig, plant_links, pod, sleeper};

/// One course of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    Start,
    TwoContainers,
    CrashLoop,
    FailsOnceThenSucceeds,
    NeverAndFails,
    Edit,
    Delete,
    DeleteWhileStarting,
    SameNameReplaced,
    SandboxKilled,
    PruneAfterRestarts,
    CompletedThenRemoved,
    ImageComesLate,
    DeletedWhileDead,
    EndsWhileDead,
    DeletedUnseen,
}

impl Scenario {
    pub const ALL: [Self; 16] = [
        Self::Start,
        Self::TwoContainers,
        Self::CrashLoop,
        Self::FailsOnceThenSucceeds,
        Self::NeverAndFails,
        Self::Edit,
        Self::Delete,
        Self::DeleteWhileStarting,
        Self::SameNameReplaced,
        Self::SandboxKilled,
        Self::PruneAfterRestarts,
        Self::CompletedThenRemoved,
        Self::ImageComesLate,
        Self::DeletedWhileDead,
        Self::EndsWhileDead,
        Self::DeletedUnseen,
    ];

    /// Plays it to its end; an error says what did not come about.
    pub async fn play(self, rig: &mut Rig) -> Result<(), String> {
        match self {
            Self::Start => start(rig).await,
            Self::TwoContainers => two_containers(rig).await,
            Self::CrashLoop => crash_loop(rig, 2).await,
            Self::FailsOnceThenSucceeds => fails_once_then_succeeds(rig).await,
            Self::NeverAndFails => never_and_fails(rig).await,
            Self::Edit => edit(rig).await,
            Self::Delete => delete(rig).await,
            Self::DeleteWhileStarting => delete_while_starting(rig).await,
            Self::SameNameReplaced => same_name_replaced(rig).await,
            Self::SandboxKilled => sandbox_killed(rig).await,
            Self::PruneAfterRestarts => prune(rig).await,
            Self::CompletedThenRemoved => completed_then_removed(rig).await,
            Self::ImageComesLate => image_comes_late(rig).await,
            Self::DeletedWhileDead => deleted_while_dead(rig).await,
            Self::EndsWhileDead => ends_while_dead(rig).await,
            Self::DeletedUnseen => deleted_unseen(rig).await,
        }
    }
}

async fn start(rig: &mut Rig) -> Result<(), String> {
    rig.write("web", &sleeper("web"));
    running(rig, "web", 1).await
}

async fn two_containers(rig: &mut Rig) -> Result<(), String> {
    let forever: &[&str] = &["sleep", "infinity"];
    rig.write("web", &pod("web", "Always", &[("app", forever), ("helper", forever)]));
    running(rig, "web", 2).await
}

/// The container fails so often, at once each time, and then runs.
async fn crash_loop(rig: &mut Rig, failures: u32) -> Result<(), String> {
    for attempt in 0..failures {
        rig.fake.script(main_of("web").attempt(attempt), Script::exits(1));
    }
    rig.write("web", &sleeper("web"));
    rig.until("it was restarted until it ran", |seen| {
        is_running(seen, "web", 1) && restarts(seen, "web") == Some(failures)
    })
    .await?;
    Ok(())
}

async fn fails_once_then_succeeds(rig: &mut Rig) -> Result<(), String> {
    rig.fake.script(main_of("job"), Script::exits(0));
    rig.fake.script(main_of("job").attempt(0), Script::exits(1));
    rig.write("job", &pod("job", "OnFailure", &[("main", &["work"])]));
    ended(rig, "job", "Succeeded", 0).await?;
    assert_restarts(rig, "job", 1).await
}

async fn never_and_fails(rig: &mut Rig) -> Result<(), String> {
    rig.write("job", &pod("job", "Never", &[("main", &["sh", "-c", "exit 7"])]));
    ended(rig, "job", "Failed", 7).await?;
    assert_restarts(rig, "job", 0).await
}

async fn edit(rig: &mut Rig) -> Result<(), String> {
    rig.write("web", &sleeper("web"));
    running(rig, "web", 1).await?;
    plant_links(&rig.places);
    rig.write("web", &pod("web", "Always", &[("main", &["sleep", "100000"])]));
    only(rig, "100000").await
}

async fn delete(rig: &mut Rig) -> Result<(), String> {
    rig.write("web", &sleeper("web"));
    running(rig, "web", 1).await?;
    plant_links(&rig.places);
    rig.remove("web");
    empty(rig).await
}

async fn delete_while_starting(rig: &mut Rig) -> Result<(), String> {
    rig.fake.fault(FaultRule::on(Call::RunPodSandbox, FaultKind::Delay(Duration::from_millis(60))));
    rig.write("web", &sleeper("web"));
    let fake = rig.fake.clone();
    let asked = move |_: &Seen| fake.count_calls(|record| record.call == Call::RunPodSandbox) > 0;
    rig.until("the sandbox is asked for", asked).await?;
    rig.remove("web");
    empty(rig).await
}

async fn same_name_replaced(rig: &mut Rig) -> Result<(), String> {
    rig.write("one", &sleeper("web"));
    running(rig, "web", 1).await?;
    plant_links(&rig.places);
    rig.remove("one");
    rig.write("two", &pod("web", "Always", &[("main", &["sleep", "100000"])]));
    only(rig, "100000").await
}

async fn sandbox_killed(rig: &mut Rig) -> Result<(), String> {
    rig.write("web", &sleeper("web"));
    running(rig, "web", 1).await?;
    for sandbox in rig.fake.snapshot().sandboxes.keys() {
        rig.fake.kill_sandbox(sandbox);
    }
    rig.until("it runs in a new sandbox", |seen| {
        let mut ready = seen.runtime.sandboxes.values().filter(|s| s.state == PodSandboxState::SandboxReady);
        let renewed = ready.any(|sandbox| sandbox.config.metadata.as_ref().is_some_and(|m| m.attempt > 0));
        renewed && is_running(seen, "web", 1)
    })
    .await?;
    Ok(())
}

/// Of ended instances only the newest stays.
async fn prune(rig: &mut Rig) -> Result<(), String> {
    crash_loop(rig, 3).await?;
    rig.until("the older instances are gone", |seen| {
        seen.runtime.containers.values().filter(|container| !runs(container)).count() == 1
    })
    .await?;
    Ok(())
}

async fn completed_then_removed(rig: &mut Rig) -> Result<(), String> {
    rig.write("job", &pod("job", "Never", &[("main", &["sh", "-c", "exit 0"])]));
    ended(rig, "job", "Succeeded", 0).await?;
    plant_links(&rig.places);
    rig.remove("job");
    empty(rig).await
}

async fn image_comes_late(rig: &mut Rig) -> Result<(), String> {
    rig.fake.configure(|switches| switches.pull_any_image = false);
    let mut manifest = sleeper("web");
    manifest["spec"]["containers"][0]["image"] = "example.test/late:1".into();
    rig.write("web", &manifest);
    rig.until("the missing image is shown", |seen| {
        let waits = |reason: &str| matches!(reason, "ErrImagePull" | "ImagePullBackOff");
        seen.containers.iter().any(|container| waits(&container.reason))
    })
    .await?;
    rig.fake.seed_image("example.test/late:1", 1024);
    running(rig, "web", 1).await
}

async fn deleted_while_dead(rig: &mut Rig) -> Result<(), String> {
    rig.write("web", &sleeper("web"));
    running(rig, "web", 1).await?;
    plant_links(&rig.places);
    rig.kill().await;
    rig.remove("web");
    empty(rig).await
}

/// The agent dies in the making of a pod, and the manifest goes before the next one looks.
async fn deleted_unseen(rig: &mut Rig) -> Result<(), String> {
    rig.write("web", &sleeper("web"));
    rig.until_dead_or("it runs", |seen| is_running(seen, "web", 1)).await?;
    rig.kill().await;
    rig.remove("web");
    empty(rig).await
}

/// An exit that nobody watched is found with its code.
async fn ends_while_dead(rig: &mut Rig) -> Result<(), String> {
    rig.write("job", &pod("job", "Never", &[("main", &["sleep", "infinity"])]));
    running(rig, "job", 1).await?;
    rig.kill().await;
    for container in rig.fake.snapshot().running() {
        rig.fake.exit_now(&container.id, 3);
    }
    ended(rig, "job", "Failed", 3).await?;
    assert_restarts(rig, "job", 0).await
}

fn main_of(pod: &str) -> Select {
    Select::any().pod(full(pod)).container("main")
}

fn full(pod: &str) -> String {
    format!("{pod}-{NODE}")
}

/// Whether so many containers of the pod run, in the runtime and in what the agent says.
pub fn is_running(seen: &Seen, pod: &str, containers: usize) -> bool {
    let view = seen.pods.iter().find(|view| view.name == full(pod));
    let shown = view.is_some_and(|view| view.status == "Running" && view.ready == containers);
    let of_pod = |id: &String| {
        let sandbox = seen.runtime.sandboxes.get(id).and_then(|sandbox| sandbox.config.metadata.clone());
        sandbox.is_some_and(|metadata| metadata.name == full(pod))
    };
    let run = seen.runtime.running().iter().filter(|container| of_pod(&container.sandbox_id)).count();
    shown && run == containers
}

fn restarts(seen: &Seen, pod: &str) -> Option<u32> {
    seen.pods.iter().find(|view| view.name == full(pod)).map(|view| view.restarts)
}

async fn running(rig: &mut Rig, pod: &str, containers: usize) -> Result<(), String> {
    rig.until(&format!("{pod} runs"), |seen| is_running(seen, pod, containers)).await?;
    Ok(())
}

/// Ended for good: the phase, the code, and no sandbox that still has a network.
async fn ended(rig: &mut Rig, pod: &str, phase: &str, code: i32) -> Result<(), String> {
    let what = format!("{pod} is {phase} with {code} and its sandbox is down");
    rig.until(&what, |seen| {
        let pods = seen.pods.iter().any(|view| view.name == full(pod) && view.phase == phase);
        let down = seen.runtime.sandboxes.values().all(|s| s.state == PodSandboxState::SandboxNotready);
        pods && down && seen.containers.iter().any(|container| container.exit_code == Some(code))
    })
    .await?;
    Ok(())
}

async fn assert_restarts(rig: &mut Rig, pod: &str, wanted: u32) -> Result<(), String> {
    let seen = rig.until("the restarts are counted", |seen| restarts(seen, pod).is_some()).await?;
    match restarts(&seen, pod) {
        Some(count) if count == wanted => Ok(()),
        other => Err(format!("{pod} was restarted {other:?} times, expected {wanted}")),
    }
}

/// The only container runs with this word in its command.
async fn only(rig: &mut Rig, word: &str) -> Result<(), String> {
    rig.until(&format!("only the container with {word} is there"), |seen| {
        let right = |command: &[String]| command.iter().any(|part| part == word);
        let containers = &seen.runtime.containers;
        let runs = containers.values().any(|container| runs(container) && right(&container.config.command));
        runs && containers.len() == 1 && seen.pods.len() == 1 && is_running(seen, "web", 1)
    })
    .await?;
    Ok(())
}

/// Nothing is left anywhere.
pub async fn empty(rig: &mut Rig) -> Result<(), String> {
    let places = rig.places.clone();
    rig.until("nothing is left", |seen| {
        let on_disk = names_in(&places.root().join("pods")).len() + names_in(&places.logs()).len();
        seen.runtime.containers.is_empty()
            && seen.runtime.sandboxes.is_empty()
            && seen.pods.is_empty()
            && on_disk == 0
    })
    .await?;
    Ok(())
}
