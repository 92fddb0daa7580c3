//! What a deleted pod's last phase is, while a finalizer of somebody else's keeps the object in view.

use std::time::Duration;

use pinnace_cri::fake::{OnTerm, PullScript, Script, Select};
use serde_json::json;
use tokio::time::sleep;

use crate::harness::{pod, sleeper};
use crate::rig::{Rig, SOON, exit_of, held, let_go, phase_of};

const POLICIES: [&str; 3] = ["Always", "OnFailure", "Never"];

#[tokio::test(start_paused = true)]
async fn b06_a_deleted_pods_phase_says_how_it_ended() {
    for policy in POLICIES {
        let rig = Rig::new();
        let after = Duration::from_millis(300);
        rig.make.fake.script(Select::any().pod("deaf"), Script::forever().on_term(OnTerm::Ignore));
        let trap = Script::forever().on_term(OnTerm::Exit { code: 0, after });
        rig.make.fake.script(Select::any().pod("trap"), trap);
        let missing = (pinnace_cri::fake::Code::NotFound, "no such image".to_owned());
        let pull = PullScript { takes: Duration::from_secs(1), error: Some(missing) };
        rig.make.fake.script_pull(Select::any().image("registry.example/missing:1"), pull);
        let agent = rig.start();
        let mut missing = pod("missing", policy, &["sleep", "infinity"]);
        missing["spec"]["containers"][0]["image"] = json!("registry.example/missing:1");
        let mut deaf = pod("deaf", policy, &["sleep", "infinity"]);
        deaf["spec"]["terminationGracePeriodSeconds"] = json!(1);
        for pod in [missing, deaf, pod("trap", policy, &["sleep", "infinity"])] {
            rig.create(&held(pod));
        }
        rig.until_ready("deaf").await;
        rig.until_ready("trap").await;
        sleep(Duration::from_secs(5)).await;
        let expected =
            [("missing", "Failed", None), ("deaf", "Failed", Some(137)), ("trap", "Succeeded", Some(0))];
        for (name, ..) in expected {
            rig.api.delete("pods", "default", name).unwrap();
        }
        for (name, phase, _) in expected {
            rig.until_phase(name, phase, Duration::from_secs(20)).await;
        }
        rig.until_empty(Duration::from_secs(20)).await;
        sleep(Duration::from_secs(120)).await;
        for (name, phase, code) in expected {
            let pod = rig.pod(name).unwrap();
            assert_eq!((phase_of(&pod).as_str(), policy), (phase, policy), "{name}: {pod}");
            if code.is_some() {
                assert_eq!(exit_of(&pod), code, "{name}, {policy}: {pod}");
            }
            assert_eq!(rig.deletes_of(name).len(), 1, "{name}: the object stays, one request is enough");
            let_go(&rig, name);
        }
        for (name, ..) in expected {
            rig.until_gone(name, SOON).await;
        }
        rig.until("no worker is left", SOON, || agent.cards() == 0).await;
        agent.stop().await;
        rig.check_manners();
    }
}

#[tokio::test(start_paused = true)]
async fn b06_a_final_status_is_mended_while_the_object_is_held() {
    let rig = Rig::new();
    let agent = rig.start();
    rig.create(&held(sleeper("web")));
    rig.until_ready("web").await;
    rig.api.delete("pods", "default", "web").unwrap();
    rig.until_phase("web", "Failed", Duration::from_secs(20)).await;
    sleep(Duration::from_secs(30)).await;
    let last = rig.pod("web").unwrap()["status"].clone();
    rig.api.update("pods", "default", "web", |pod| pod["status"]["containerStatuses"] = json!([]));
    sleep(Duration::from_secs(30)).await;
    assert_eq!(rig.pod("web").unwrap()["status"]["containerStatuses"], last["containerStatuses"]);
    let_go(&rig, "web");
    rig.until("no worker is left", SOON, || agent.cards() == 0).await;
    agent.stop().await;
}
