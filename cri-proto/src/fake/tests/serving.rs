//! Sockets, logs on disk and upgrades: what needs real I/O, in real time.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::client::Deadlines;
use crate::v1;

const LIMIT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_socket_is_served_stopped_and_served_again_while_pods_live_on() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("cri.sock");
    let fake = Fake::default();
    let server = fake.serve_unix(&path).await.expect("serve");
    let client =
        Client::connect_lazy(path.to_str().expect("utf-8"), None, Deadlines::default()).expect("a socket");
    let shape = PodShape::static_pod("web", "u1");
    let sandbox = client.run_sandbox(sandbox_config(&shape), "").await.expect("run");
    server.stop().await;
    assert!(!path.exists());
    assert!(client.version().await.expect_err("nobody serves").is_unavailable());
    let _server = fake.serve_unix(&path).await.expect("serve again");
    assert!(fake.wait_until(LIMIT, |fake| !fake.snapshot().sandboxes.is_empty()).await);
    let found = client.list_sandboxes(None).await.expect("the same client reaches it").items;
    assert_eq!(found.iter().map(|found| &found.id).collect::<Vec<_>>(), [&sandbox]);
}

#[tokio::test(start_paused = true)]
async fn a_log_that_was_renamed_is_written_to_until_it_is_reopened() {
    let directory = tempfile::tempdir().expect("directory");
    let fake =
        Fake::new(Options { logs: Logs::Files, root: directory.path().to_owned(), ..Options::default() });
    let client = fake.client();
    let shape = PodShape::static_pod("web", "u1");
    let config = v1::PodSandboxConfig { log_directory: "logs".into(), ..sandbox_config(&shape) };
    let sandbox = client.run_sandbox(config.clone(), "").await.expect("run");
    let command = ["sh", "-c", "echo a; sleep 10; echo b; sleep 10; echo c"];
    let container = super::config(&shape, "main", 0, &command);
    let container = client.create_container(&sandbox, container, config).await.expect("create");
    client.start_container(&container).await.expect("start");
    let log = directory.path().join("logs/main/0.log");
    let rotated = log.with_extension("old");
    let wrote = |count| {
        move |fake: &Fake| {
            fake.snapshot()
                .containers
                .values()
                .next()
                .is_some_and(|container| container.output.len() == count)
        }
    };
    assert!(fake.wait_until(LIMIT, wrote(1)).await);
    std::fs::rename(&log, &rotated).expect("rename");
    assert!(fake.wait_until(LIMIT, wrote(2)).await);
    assert!(!log.exists(), "not reopened yet");
    client.reopen_container_log(&container).await.expect("reopen");
    assert!(fake.wait_until(LIMIT, wrote(3)).await);
    let texts = |path: &std::path::Path| {
        let log = std::fs::read_to_string(path).expect("log");
        log.lines().filter_map(|line| line.split(' ').nth(3).map(str::to_owned)).collect::<Vec<_>>()
    };
    assert_eq!((texts(&rotated), texts(&log)), (vec!["a".into(), "b".into()], vec!["c".to_owned()]));
}

/// Sends a request with or without an upgrade; gives the status line and the open connection.
async fn request(url: &str, upgrade: &str) -> (String, TcpStream) {
    let rest = url.strip_prefix("http://").expect("a URL");
    let (address, path) = rest.split_once('/').expect("a path");
    let mut stream = TcpStream::connect(address).await.expect("connect");
    let head = format!("POST /{path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\n{upgrade}\r\n");
    stream.write_all(head.as_bytes()).await.expect("send");
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.expect("an answer"));
    }
    let answer = String::from_utf8(answer).expect("text");
    (answer.lines().next().unwrap_or_default().to_owned(), stream)
}

#[tokio::test]
async fn a_streaming_url_is_good_for_one_upgrade_and_echoes() {
    let pod = Pod::running(&[]).await;
    let id = pod.container.to_string();
    let exec = v1::ExecRequest {
        container_id: id.clone(),
        cmd: vec!["sh".into()],
        stdin: true,
        ..Default::default()
    };
    let url = pod.client.exec(exec).await.expect("exec");
    const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\n";
    assert!(request(&url, "").await.0.contains("400"));
    let (status, mut stream) = request(&url, UPGRADE).await;
    assert!(status.contains("101"), "{status}");
    stream.write_all(b"ping").await.expect("send");
    let mut echoed = [0; 4];
    stream.read_exact(&mut echoed).await.expect("echo");
    assert_eq!(&echoed, b"ping");
    assert!(request(&url, UPGRADE).await.0.contains("404"), "used up");
    let attach = v1::AttachRequest { container_id: id, stdout: true, ..Default::default() };
    assert!(pod.client.attach(attach).await.expect("attach").contains("/attach/"));
    let forward = pod.client.port_forward(&pod.sandbox, vec![80]).await.expect("port forward");
    assert!(forward.contains("/portforward/"));
}
