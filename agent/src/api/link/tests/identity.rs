//! A kubeconfig that leads elsewhere while the agent runs.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

/// An API server that knows one thing: the node `n` by this UID, or no such node.
async fn cluster(uid: Option<&'static str>, tasks: &mut JoinSet<()>) -> String {
    let (listener, address) = listen().await;
    tasks.spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            answer(stream, uid).await;
        }
    });
    format!("http://{address}")
}

async fn answer(mut stream: TcpStream, uid: Option<&str>) {
    let mut asked = vec![0; 4096];
    let length = stream.read(&mut asked).await.unwrap_or(0);
    assert!(String::from_utf8_lossy(&asked[..length]).starts_with("GET /api/v1/nodes/n "), "{asked:?}");
    let (status, body) = match uid {
        Some(uid) => (
            "200 OK",
            format!(r#"{{"apiVersion":"v1","kind":"Node","metadata":{{"name":"n","uid":"{uid}"}}}}"#),
        ),
        None => {
            let status =
                r#"{"apiVersion":"v1","kind":"Status","status":"Failure","reason":"NotFound","code":404}"#;
            ("404 Not Found", status.to_owned())
        }
    };
    let head = format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\nconnection: close\r\n");
    let reply = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(reply.as_bytes()).await.unwrap();
}

/// The link of the node `n`, which its cluster knows as `a`, with the kubeconfig's file.
async fn member(server: &str) -> (TempDir, PathBuf, Link, Clients, watch::Sender<Option<Arc<str>>>) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("kubeconfig");
    write(&file, &kubeconfig(server, ""), 0);
    let (owner, uid) = watch::channel(Some(Arc::from("a")));
    let guard = Guard::new("n".to_owned(), uid);
    let (link, clients) = Link::new(file.clone(), Clock::of_this_machine().unwrap(), guard).await;
    (dir, file, link, clients, owner)
}

#[tokio::test]
async fn another_cluster_is_not_gone_over_to_and_another_address_of_the_same_is() {
    let mut servers = JoinSet::new();
    let [old, other, empty, same] = [
        cluster(Some("a"), &mut servers).await,
        cluster(Some("b"), &mut servers).await,
        cluster(None, &mut servers).await,
        cluster(Some("a"), &mut servers).await,
    ];
    let (_dir, file, mut link, clients, owner) = member(&old).await;
    // The object may be gone for a moment; it is known by what it was.
    link.look().await;
    owner.send_replace(None);
    let state = || clients.state.borrow().clone();
    for (age, server, words) in [(1, &other, "its node n is another one"), (2, &empty, "it has no node n")] {
        write(&file, &kubeconfig(server, ""), age);
        link.look().await;
        assert!(state().problem.contains(words), "{:?}", state());
        assert_eq!(state().server, old, "whoever watches goes on where it was");
    }
    let (silent, at) = listen().await;
    drop(silent);
    write(&file, &kubeconfig(&format!("http://{at}"), ""), 3);
    link.look().await;
    assert!(state().problem.contains("must first show that it is the same cluster's"), "{:?}", state());
    write(&file, &kubeconfig(&same, ""), 4);
    link.look().await;
    assert_eq!(state(), LinkState { server: same, problem: String::new() });
}

#[tokio::test]
async fn what_could_not_prove_itself_is_asked_again() {
    let mut servers = JoinSet::new();
    let old = cluster(Some("a"), &mut servers).await;
    let (_dir, file, mut link, clients, _owner) = member(&old).await;
    let (listener, at) = listen().await;
    drop(listener);
    let new = format!("http://{at}");
    write(&file, &kubeconfig(&new, ""), 1);
    link.look().await;
    assert_eq!(clients.state.borrow().server, old);
    let listener = TcpListener::bind(at).await.unwrap();
    servers.spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        answer(stream, Some("a")).await;
    });
    link.look().await;
    assert_eq!(clients.state.borrow().server, new, "though the file did not change again");
}
