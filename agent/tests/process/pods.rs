//! What a person sees of pods, and what manifests that are wrong do.

use pinnace::view::{EventView, ExplainView};

use crate::machine::{Machine, Said, pod, sleeper};

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_is_shown_by_every_command() {
    let machine = Machine::running().await;
    machine.write("web.json", &pod("web", "Always", &["sh", "-c", "echo hello; sleep infinity"]).to_string());
    let id = machine.until_running("web").await;
    let view = machine.pod("web").await.unwrap();
    assert_eq!((view.namespace.as_str(), view.ready, view.containers), ("default", 1, 1));
    assert_eq!(machine.fake.snapshot().running()[0].id, id);

    let logs = machine.ask(&["logs", "web"]).await;
    assert_eq!((logs.code, logs.out.as_str()), (Some(0), "hello\n"), "{logs:?}");
    for name in ["web", "web-node1", "default/web", view.uid.as_str()] {
        let explained: ExplainView = machine.json(&["explain", name]).await.unwrap();
        assert_eq!(explained.pod.uid, view.uid);
        assert!(!explained.timeline.is_empty() && explained.containers.len() == 1, "{explained:?}");
    }
    let events: Vec<EventView> = machine.json(&["events"]).await.unwrap();
    let reasons: Vec<_> = events.iter().map(|event| event.reason.as_str()).collect();
    assert!(["Created", "Started"].iter().all(|reason| reasons.contains(reason)), "{reasons:?}");
    let unknown = machine.ask(&["logs", "nothing"]).await;
    assert_eq!(unknown.code, Some(4), "{unknown:?}");
    assert!(unknown.err.contains("nothing"), "{unknown:?}");

    machine.remove("web.json");
    machine.until_empty().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_of_the_instance_before_is_kept() {
    let machine = Machine::running().await;
    machine.fake.script(
        pinnace_cri::fake::Select::any().attempt(0).container("main"),
        pinnace_cri::fake::Script::exits(3).prints("first life"),
    );
    machine.write("web.json", &sleeper("web"));
    machine.until(&["logs", "-p", "web"], "the first log is shown", |said| said.out == "first life\n").await;
    machine.until_running("web").await;
    let view = machine.container("web").await.unwrap();
    assert_eq!((view.restarts, view.last_exit_code), (1, Some(3)));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_manifests_with_one_name_the_first_goes_on() {
    let machine = Machine::running().await;
    machine.write("a.json", &sleeper("web"));
    let id = machine.until_running("web").await;
    machine.write("b.json", &sleeper("web"));
    let names_both = |said: &Said| said.err.contains("b.json") && said.err.contains("a.json");
    let said = machine.until(&["pods"], "the second is refused", names_both).await;
    assert!(said.err.contains("already defined"), "{said:?}");
    assert_eq!(machine.until_running("web").await, id);
    // The rest goes on.
    machine.write("c.json", &sleeper("other"));
    machine.until_running("other").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_edit_leaves_the_pod_running_also_over_a_restart() {
    let mut machine = Machine::running().await;
    machine.write("web.json", &sleeper("web"));
    let id = machine.until_running("web").await;
    let shown = |said: &Said| said.err.contains("web.json") && said.err.contains("spec.containers[0].imag");
    machine.write("web.json", &sleeper("web").replace("\"image\"", "\"imag\""));
    machine.until(&["pods"], "the edit is refused by its field", shown).await;
    assert_eq!(machine.until_running("web").await, id);

    machine.kill().await;
    machine.start();
    machine.until(&["pods"], "the edit is still refused", shown).await;
    assert_eq!(machine.until_running("web").await, id, "taken over by the manifest that was admitted");
    machine.write("web.json", &sleeper("web"));
    machine.until(&["pods"], "the repair is taken", |said| said.code == Some(0) && said.err.is_empty()).await;
    assert_eq!(machine.until_running("web").await, id);
}

#[tokio::test(flavor = "multi_thread")]
async fn manifests_that_are_none_are_named_and_the_rest_goes_on() {
    let machine = Machine::running().await;
    machine.write("kind.yaml", "apiVersion: v1\nkind: Gadget\nmetadata:\n  name: x\n");
    machine.write("text.yaml", "this is: [no manifest");
    machine.write("good.json", &sleeper("good"));
    let named = |said: &Said| said.err.contains("kind.yaml") && said.err.contains("text.yaml");
    let said = machine.until(&["pods"], "both are named", named).await;
    assert!(said.err.contains("Gadget"), "{said:?}");
    machine.until_running("good").await;
}
