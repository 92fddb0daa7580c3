//! The agent goes and comes back; containers live on, end or vanish meanwhile. The runtime and the agent's own
//! directory stay. An API server's view of the same (exit codes on the API within 10 s) belongs to a later part.

use std::time::Duration;

use jiff::Timestamp;
use pinnace_cri::fake::{Ending, Fake, Options};

use crate::harness::{Make, pod, running, sleeper};

const SOON: Duration = Duration::from_secs(10);

#[tokio::test(start_paused = true)]
async fn a_restart_changes_nothing_in_the_runtime() {
    let make = Make::new();
    let pods: Vec<_> = (0..10).map(|index| sleeper(&format!("web{index}"))).collect();
    let mut node = make.start(&pods);
    for index in 0..10 {
        node.until_running(&format!("web{index}")).await;
    }
    let before: Vec<_> = node.runtime().containers.into_keys().collect();
    let mutations = node.mutations();
    for down in [0, 1, 60, 3_600] {
        node.stop().await;
        tokio::time::sleep(Duration::from_secs(down)).await;
        node = make.start(&pods);
        tokio::time::sleep(SOON).await;
        for index in 0..10 {
            assert!(node.is_running(&format!("web{index}")), "{}", node.describe());
        }
    }
    assert_eq!(before, node.runtime().containers.into_keys().collect::<Vec<_>>());
    assert_eq!(mutations, node.mutations(), "a restart made mutating calls");
    node.at_rest().await;
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn b32_exits_during_downtime_are_told_exactly() {
    let ends = [
        ("0", Ending::code(0), "Completed"),
        ("7", Ending::code(7), "Error"),
        ("signal", Ending::code(137), "Error"),
        ("oom", Ending::oom(137), "OOMKilled"),
    ];
    for (kind, ending, reason) in ends {
        for policy in ["Always", "OnFailure", "Never"] {
            for down in [1, 60, 3_600] {
                let make = Make::new();
                let pods = [pod("job", policy, &["sleep", "infinity"])];
                let node = make.start(&pods);
                node.until_running("job").await;
                let id = running(&node.runtime(), "main").id.clone();
                node.stop().await;
                make.fake.end(&id, ending.clone());
                let finished = Timestamp::from_nanosecond(i128::from(make.fake.wall())).unwrap();
                tokio::time::sleep(Duration::from_secs(down)).await;
                let node = make.start(&pods);
                let case = format!("{kind}, {policy}, down {down} s");
                let restarts = policy == "Always" || (policy == "OnFailure" && ending.code != 0);
                if restarts {
                    node.until(&format!("restart: {case}"), SOON, |node| {
                        node.is_running("job") && node.pod("job").unwrap().restarts == 1
                    })
                    .await;
                    let view = node.container("job", "main").unwrap();
                    assert_eq!(view.last_exit_code, Some(ending.code), "{case}");
                } else {
                    let phase = if ending.code == 0 { "Succeeded" } else { "Failed" };
                    node.until(&format!("{phase}: {case}"), SOON, |node| {
                        node.pod("job").is_some_and(|pod| pod.phase == phase)
                    })
                    .await;
                    tokio::time::sleep(Duration::from_secs(700)).await;
                    let view = node.container("job", "main").unwrap();
                    assert_eq!(view.exit_code, Some(ending.code), "{case}");
                    assert_eq!(view.reason, reason, "{case}");
                    assert_eq!(view.finished, Some(finished), "{case}");
                    assert_eq!(view.restarts, 0, "rerun: {case}");
                }
                node.stop().await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn b33_what_the_runtime_forgot_ended_with_137_and_never_with_0() {
    for policy in ["Always", "OnFailure", "Never"] {
        let make = Make::on(Fake::new(Options::default()));
        let pods = [pod("job", policy, &["sleep", "infinity"])];
        let node = make.start(&pods);
        node.until_running("job").await;
        let id = running(&node.runtime(), "main").id.clone();
        node.stop().await;
        make.fake.exit_now(&id, 0);
        make.fake.forget_container(&id);
        let node = make.start(&pods);
        if policy == "Never" {
            node.until("Failed", SOON, |node| node.pod("job").is_some_and(|pod| pod.phase == "Failed")).await;
            let view = node.container("job", "main").unwrap();
            assert_eq!((view.exit_code, view.reason.as_str()), (Some(137), "ContainerStatusUnknown"));
            assert_eq!(view.id.as_deref(), Some(id.as_str()));
        } else {
            node.until("restarted", SOON, |node| {
                node.is_running("job") && node.pod("job").unwrap().restarts == 1
            })
            .await;
            assert_eq!(node.container("job", "main").unwrap().last_exit_code, Some(137), "{policy}");
        }
        node.stop().await;
    }
}
