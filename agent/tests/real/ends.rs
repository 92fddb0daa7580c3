//! How containers end, and what follows.

use crate::manifest::{main, pod};
use crate::node::{Node, SOON};
use crate::runtime::Runtime;

pub(crate) fn exit_codes_and_restart_policies(runtime: &Runtime) {
    let node = Node::start(runtime);
    node.put(&pod("never-7", "Never", "exit 7"));
    node.put(&pod("never-0", "Never", "exit 0"));
    node.put(&pod("onfailure-0", "OnFailure", "exit 0"));
    node.put(&pod("onfailure-3", "OnFailure", "exit 3"));
    node.put(&pod("always-0", "Always", "exit 0"));
    for (name, phase, reason, code) in [
        ("never-7", "Failed", "Error", 7),
        ("never-0", "Succeeded", "Completed", 0),
        ("onfailure-0", "Succeeded", "Completed", 0),
    ] {
        node.until(phase, SOON, |node| node.pod(name).is_some_and(|pod| pod.phase == phase));
        let ended = node.until_main(name, "terminated", |main| main.state == "Terminated");
        assert_eq!(
            (ended.exit_code, ended.reason.as_str(), ended.restarts),
            (Some(code), reason, 0),
            "{name}"
        );
        // Of a process that ends at once containerd 2.2 stamps the end before the start.
        assert!(ended.started.is_some() && ended.finished.is_some(), "{name}: {ended:?}");
    }
    for (name, code) in [("onfailure-3", 3), ("always-0", 0)] {
        let again = node.until_main(name, "waits for its second restart", |main| {
            main.restarts == 1 && main.reason == "CrashLoopBackOff"
        });
        assert_eq!(again.last_exit_code, Some(code), "{name}");
        assert_eq!(node.pod(name).unwrap().phase, "Running");
    }
    // What has ended stays so: the same ids a little later.
    let ended = node.container("never-7", "main").unwrap();
    assert_eq!((ended.restarts, ended.exit_code), (0, Some(7)));
}

pub(crate) fn last_words_become_the_message(runtime: &Runtime) {
    let node = Node::start(runtime);
    let mut file = pod("file", "Never", "echo log line; printf 'the reason' >/tmp/words; exit 1");
    main(&mut file)["terminationMessagePath"] = "/tmp/words".into();
    let mut log = pod("log", "Never", "echo out of cheese; exit 1");
    main(&mut log)["terminationMessagePolicy"] = "FallbackToLogsOnError".into();
    node.put(&file);
    node.put(&log);
    node.put(&pod("plain", "Never", "printf words >/dev/termination-log; exit 0"));
    node.put(&pod("silent", "Never", "echo not a message; exit 1"));
    for (name, message) in
        [("file", "the reason"), ("log", "out of cheese\n"), ("plain", "words"), ("silent", "")]
    {
        let ended = node.until_main(name, "terminated", |main| main.state == "Terminated");
        assert_eq!(ended.message, message, "{name}");
    }
}
