//! Answers that no honest runtime gives (A70) and lists beyond the message limit (A71), end to end.

use std::time::Duration;

use pinnace::server::views::Views;
use pinnace_cri::call::Call;
use pinnace_cri::fake::{FaultKind, FaultRule, Garbage};

use crate::harness::{Make, entries, sleeper};

const LISTS: [Call; 4] =
    [Call::ListContainers, Call::ListPodSandbox, Call::StreamContainers, Call::StreamPodSandboxes];

fn garbage() -> Vec<Garbage> {
    let mut all = vec![
        Garbage::EmptyId,
        Garbage::DuplicateId,
        Garbage::ExitCode(i32::MIN),
        Garbage::NoMetadata,
        Garbage::State(77),
        Garbage::LabelValues,
        Garbage::PodUid("../../x".to_owned()),
        Garbage::UnknownSandbox,
        Garbage::Nothing,
    ];
    all.extend([i64::MIN, -1, 0, i64::MAX].map(Garbage::Times));
    all
}

#[tokio::test(start_paused = true)]
async fn a70_malformed_answers_harm_nobody() {
    for spoilt in
        [&LISTS[..], &[Call::ContainerStatus], &[Call::PodSandboxStatus], &[Call::GetContainerEvents]]
    {
        for garbage in garbage() {
            let case = format!("{spoilt:?} {garbage:?}");
            let node = Make::new().start(&[sleeper("web")]);
            node.until_running("web").await;
            let id = node.container("web", "main").unwrap().id;
            for call in spoilt {
                node.fake.fault(FaultRule::on(*call, FaultKind::GarbageRecord(garbage.clone())));
            }
            node.fake.cut_events();
            tokio::time::sleep(Duration::from_secs(30)).await;
            assert_eq!(node.board.health(), Ok(()), "{case}");
            let of_web = node.runtime().running().iter().any(|container| Some(&container.id) == id.as_ref());
            assert!(of_web, "{case}: the running container was ended\n{}", node.describe());
            let only_lists_or_events = !matches!(spoilt[0], Call::ContainerStatus | Call::PodSandboxStatus);
            if only_lists_or_events {
                node.want(&[sleeper("web"), sleeper("next")]);
                node.until(&format!("{case}: others go on"), Duration::from_secs(30), |node| {
                    node.is_running("next")
                })
                .await;
            }
            node.fake.clear_faults();
            node.want(&[sleeper("web"), sleeper("last")]);
            node.until(&format!("{case}: recovered"), Duration::from_secs(90), |node| {
                node.is_running("last") && node.pod("next").is_none()
            })
            .await;
            assert_eq!(node.container("web", "main").unwrap().id, id, "{case}");
            let outside = entries(&node.dir.path().join("root"));
            assert!(outside.iter().all(|path| !path.ends_with("x")), "{outside:?}");
            node.stop_anyhow().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a70_thousands_of_records_more() {
    let node = Make::new().start(&[sleeper("web")]);
    node.until_running("web").await;
    let mutations = node.mutations();
    let many = FaultKind::GarbageRecord(Garbage::Many(5_000));
    for call in LISTS {
        node.fake.fault(FaultRule::on(call, many.clone()).once());
    }
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert!(node.is_running("web"));
    node.fake.clear_faults();
    assert!(node.mutations() >= mutations);
    node.stop_anyhow().await;
}

#[tokio::test(start_paused = true)]
async fn a71_a_list_beyond_the_limit_kills_no_pod_and_is_told() {
    let make = Make::new();
    make.fake.configure(|switches| switches.list_streaming = false);
    let node = make.start(&[sleeper("web")]);
    node.until_running("web").await;
    let mutations = node.mutations();
    let mib = 1024 * 1024;
    for (bytes, fits) in [(4 * mib + mib / 10, true), (15 * mib + mib * 9 / 10, true), (17 * mib, false)] {
        let rules = [Call::ListContainers, Call::ListPodSandbox]
            .map(|call| node.fake.fault(FaultRule::on(call, FaultKind::OversizedList(bytes))));
        if fits {
            tokio::time::sleep(Duration::from_secs(20)).await;
            assert_eq!(node.board.health(), Ok(()), "{bytes}");
        } else {
            node.until("the condition is told", Duration::from_secs(190), |node| {
                node.board.health().is_err_and(|said| said.contains("exhausted"))
            })
            .await;
            assert!(node.board.problems().iter().any(|said| said.contains("last listed")));
        }
        assert!(node.is_running("web"), "{bytes}");
        for rule in rules {
            node.fake.remove_fault(rule);
        }
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    assert_eq!(mutations, node.mutations());
    node.want(&[]);
    node.until("it goes on", Duration::from_secs(30), |node| node.is_empty()).await;
    node.stop().await;
}
