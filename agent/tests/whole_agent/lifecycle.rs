//! Pods from wish to end, in virtual time against the fake runtime.

use std::time::Duration;

use crate::harness::{Make, pod, sleeper};

#[tokio::test(start_paused = true)]
async fn a_wanted_pod_runs_and_an_unwanted_one_leaves_nothing() {
    let node = Make::new().start(&[sleeper("web")]);
    node.until_running("web").await;
    assert_eq!(node.runtime().containers.len(), 1);
    node.want(&[]);
    node.until("nothing is left", Duration::from_secs(30), |node| {
        node.is_empty() && node.pod("web").is_none()
    })
    .await;
    node.stop().await;
}

#[tokio::test(start_paused = true)]
async fn restart_policies_by_exit_codes() {
    let table = [
        ("Always", "0", true),
        ("Always", "7", true),
        ("OnFailure", "0", false),
        ("OnFailure", "7", true),
        ("Never", "0", false),
        ("Never", "7", false),
    ];
    for (policy, code, restarts) in table {
        let node = Make::new().start(&[pod("job", policy, &["sh", "-c", &format!("exit {code}")])]);
        if restarts {
            node.until("it was restarted", Duration::from_secs(60), |node| {
                node.pod("job").is_some_and(|pod| pod.restarts >= 2 && pod.phase == "Running")
            })
            .await;
        } else {
            let phase = if code == "0" { "Succeeded" } else { "Failed" };
            node.until(phase, Duration::from_secs(60), |node| {
                node.pod("job").is_some_and(|pod| pod.phase == phase)
            })
            .await;
            tokio::time::sleep(Duration::from_secs(700)).await;
            let view = node.pod("job").unwrap();
            assert_eq!((view.phase.as_str(), view.restarts), (phase, 0), "{policy} {code}");
            let main = node.container("job", "main").unwrap();
            assert_eq!(main.exit_code, Some(code.parse().unwrap()));
        }
        node.stop().await;
    }
}
