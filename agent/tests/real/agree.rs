//! What crictl says of a pod is what the agent says of it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use pinnace::view::ContainerView;

use crate::manifest::{WAIT, container, main, pod};
use crate::node::{Node, SOON};
use crate::runtime::Runtime;

pub(crate) fn crictl_agrees_with_the_agent(runtime: &Runtime) {
    let node = Node::start(runtime);
    let talk = format!("echo one; echo two >&2; echo last words; {WAIT}");
    let mut manifest = pod("agree", "Always", &talk);
    manifest["spec"]["containers"].as_array_mut().unwrap().push(container("other", WAIT));
    node.put(&manifest);
    node.until_running("agree");
    compare(&node);
    compare_logs(&node, 0, &[]);

    // An end that nobody of ours caused, then the same comparison of the second instance and the log of the first.
    let first = node.container("agree", "main").and_then(|main| main.id).unwrap();
    runtime.crictl(&["stop", "-t", "0", &first]);
    node.until_main("agree", "was restarted", |main| main.restarts == 1 && main.state == "Running");
    assert_eq!(node.container("agree", "main").unwrap().last_exit_code, Some(137));
    compare(&node);
    compare_logs(&node, 0, &["--previous"]);
    compare_logs(&node, 1, &[]);
}

/// Names, ids, states and attempts.
fn compare(node: &Node) {
    let view = node.pod("agree").unwrap();
    let sandboxes = node.runtime.sandboxes(&node.name);
    assert_eq!(sandboxes.len(), 1, "{}", node.describe());
    let meta = &sandboxes[0]["metadata"];
    assert_eq!(meta["name"], view.name.as_str());
    assert_eq!(meta["namespace"], view.namespace.as_str());
    assert_eq!(meta["uid"], view.uid.as_str());
    assert_eq!(sandboxes[0]["state"], "SANDBOX_READY");
    let status = node.runtime.sandbox(sandboxes[0]["id"].as_str().unwrap());
    assert_eq!(status["status"]["network"]["ip"].as_str(), view.ip.as_deref());

    let mut ours: Vec<_> = node.containers().iter().map(line).collect();
    let seen = node.runtime.containers(&node.name);
    let running = seen.iter().filter(|container| container["state"] == "CONTAINER_RUNNING");
    let mut theirs: Vec<_> = running
        .map(|container| {
            let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
            let attempt = container["metadata"]["attempt"].as_u64().unwrap_or(0);
            (text(&container["metadata"]["name"]), text(&container["id"]), "Running".to_owned(), attempt)
        })
        .collect();
    ours.sort();
    theirs.sort();
    assert_eq!(ours, theirs, "{}", node.describe());
    assert!(seen.iter().all(|container| container["podSandboxId"] == sandboxes[0]["id"]));
}

fn line(container: &ContainerView) -> (String, String, String, u64) {
    let id = container.id.clone().unwrap_or_default();
    (container.name.clone(), id, container.state.clone(), u64::from(container.restarts))
}

/// The lines of one instance of `main`.
fn compare_logs(node: &Node, attempt: u64, args: &[&str]) {
    let listed = node.runtime.containers(&node.name);
    let instance = listed.iter().find(|container| {
        container["metadata"]["name"] == "main"
            && container["metadata"]["attempt"].as_u64().unwrap_or(0) == attempt
    });
    let id =
        instance.unwrap_or_else(|| panic!("attempt {attempt} is listed\n{}", node.describe()))["id"].as_str();
    let ours = || node.logs(&[&["agree", "-c", "main"], args].concat());
    node.until("the log has its last line", SOON, |_| ours().contains("last words"));
    let output = node.runtime.crictl(&["logs", id.unwrap()]);
    // crictl prints what went to stderr there.
    let out: Vec<String> = ours().lines().filter(|line| *line != "two").map(str::to_owned).collect();
    assert_eq!(out, output.lines().collect::<Vec<_>>());
    assert_eq!(ours().lines().count(), 3);
}

pub(crate) fn a_pod_has_an_address_that_answers(runtime: &Runtime) {
    let node = Node::start(runtime);
    let mut manifest = pod("web", "Always", "exec httpd -f -p 8080 -h /var/www");
    main(&mut manifest)["ports"] = serde_json::json!([{ "containerPort": 8080 }]);
    node.put(&manifest);
    let ip = node.until_running("web").ip.expect("an address");
    node.until("the web server answers", SOON, |_| get(&ip, 8080).is_some_and(|page| page.contains("hello")));
}

/// A page, if the server is up.
pub(crate) fn get(host: &str, port: u16) -> Option<String> {
    let address = format!("{host}:{port}").parse().expect("an address");
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    stream.write_all(b"GET /index.html HTTP/1.0\r\n\r\n").ok()?;
    let mut page = String::new();
    stream.read_to_string(&mut page).ok()?;
    Some(page)
}
