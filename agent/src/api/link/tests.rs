use std::net::SocketAddr;
use std::path::Path;

use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::*;

mod clock;
mod identity;

/// A machine that builds something beside needs no longer.
const PATIENCE: Duration = Duration::from_secs(20);

fn kubeconfig(server: &str, user: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{{name: c, context: {{cluster: k, user: u}}}}]\n\
         clusters: [{{name: k, cluster: {{server: '{server}'}}}}]\nusers: [{{name: u, user: {{{user}}}}}]\n"
    )
}

/// Writes a kubeconfig; `age` tells it from the one before, whatever the file system's clock can tell apart.
fn write(file: &Path, text: &str, age: u64) {
    std::fs::write(file, text).unwrap();
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000 + age);
    std::fs::File::options().append(true).open(file).unwrap().set_modified(at).unwrap();
}

async fn link(text: &str) -> (TempDir, PathBuf, Link, Clients) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("kubeconfig");
    write(&file, text, 0);
    let guard = Guard::new("n".to_owned(), watch::channel(None).1);
    let (link, clients) = Link::new(file.clone(), Clock::of_this_machine().unwrap(), guard).await;
    (dir, file, link, clients)
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A call that nobody answers.
async fn call(client: kube::Client) -> String {
    let request = http::Request::get("/version").body(Vec::new()).unwrap();
    let error = client.request_text(request).await.unwrap_err();
    Chain(&error).to_string()
}

/// Waits for a connection, while the call that asks for it goes on.
async fn connected(listener: &TcpListener) -> tokio::net::TcpStream {
    tokio::time::timeout(PATIENCE, listener.accept()).await.expect("nobody connects").unwrap().0
}

async fn ended(calls: &mut JoinSet<String>) -> String {
    tokio::time::timeout(PATIENCE, calls.join_next()).await.expect("the call goes on").unwrap().unwrap()
}

#[tokio::test]
async fn a_lease_whose_connection_hangs_gets_another_and_nobody_else_does() {
    let (listener, address) = listen().await;
    let (_dir, _file, link, clients) = link(&kubeconfig(&format!("http://{address}"), "")).await;
    let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
    tasks.spawn(link.run(stop.clone()));
    let (mut lease, mut shared) = (JoinSet::new(), JoinSet::new());
    shared.spawn(call(clients.shared.clone()));
    let _shared = connected(&listener).await;
    lease.spawn(call(clients.lease.clone()));
    let _hung = connected(&listener).await;

    clients.lease_stuck.notify_one();
    let error = ended(&mut lease).await;
    assert!(error.contains("was replaced"), "{error}");
    lease.spawn(call(clients.lease.clone()));
    let _fresh = connected(&listener).await;
    assert!(shared.try_join_next().is_none(), "the other connection is left alone");
    stop.cancel();
    tasks.join_next().await.unwrap().unwrap();
}

#[tokio::test]
async fn a_kubeconfig_that_changed_is_used_and_what_went_over_the_old_one_ends() {
    let ((one, at_one), (two, at_two)) = (listen().await, listen().await);
    let (_dir, file, mut link, clients) = link(&kubeconfig(&format!("http://{at_one}"), "")).await;
    let mut calls = JoinSet::new();
    calls.spawn(call(clients.shared.clone()));
    let _first = connected(&one).await;
    link.look().await;
    assert!(calls.try_join_next().is_none(), "nothing changed");

    write(&file, &kubeconfig(&format!("http://{at_two}"), ""), 1);
    link.look().await;
    assert!(ended(&mut calls).await.contains("was replaced"));
    assert_eq!(clients.state.borrow().server, format!("http://{at_two}"));
    calls.spawn(call(clients.shared.clone()));
    let _second = connected(&two).await;

    // One that is being written takes nothing away.
    write(&file, "apiVersion: v1\nkind: Config\n", 2);
    link.look().await;
    assert!(clients.state.borrow().problem.contains("current-context: is missing"));
    assert!(calls.try_join_next().is_none(), "the call goes on");
}

#[tokio::test]
async fn a_kubeconfig_that_cannot_be_used_says_why_until_it_can() {
    let (_dir, file, mut link, clients) = link("apiVersion: v1\nkind: Config\n").await;
    let problem = clients.state.borrow().problem.clone();
    assert!(problem.contains("current-context: is missing"), "{problem}");
    assert!(call(clients.shared.clone()).await.contains("current-context: is missing"));
    let (listener, address) = listen().await;
    write(&file, &kubeconfig(&format!("http://{address}"), ""), 1);
    link.look().await;
    assert_eq!(clients.state.borrow().problem, "");
    let mut calls = JoinSet::new();
    calls.spawn(call(clients.shared.clone()));
    let _connected = connected(&listener).await;
}

#[tokio::test]
async fn an_expired_client_certificate_is_told_and_used() {
    let dir = tempfile::tempdir().unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["n".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    let (certificate, secret) = (dir.path().join("n.crt"), dir.path().join("n.key"));
    std::fs::write(&certificate, params.self_signed(&key).unwrap().pem()).unwrap();
    std::fs::write(&secret, key.serialize_pem()).unwrap();
    let user = format!("client-certificate: {}, client-key: {}", certificate.display(), secret.display());
    let (_dir, _file, link, clients) = link(&kubeconfig("https://127.0.0.1:1", &user)).await;
    let problem = clients.state.borrow().problem.clone();
    assert!(problem.contains("expired at 2021-01-01"), "{problem}");
    assert!(link.shared.is_there(), "the server has the last word");
}
