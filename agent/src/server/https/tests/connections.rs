//! Connections: handshakes, room, certificates that change, and the end.

use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::super::reload::{Reload, Seen};
use super::super::{pair, tls, trust};
use super::rig::{Authority, DEADLINE, Rig, append, connect, readers_of, settings};

#[tokio::test]
async fn http2_serves_requests_side_by_side_and_a_followed_log() {
    let rig = Rig::new(json!({})).await;
    let log = rig.pod("web", &["one"]);
    let stream = rig.connect(Some(&rig.api_server()), &["h2"]).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let executor = hyper_util::rt::TokioExecutor::new();
    let handshake = hyper::client::conn::http2::handshake(executor, TokioIo::new(stream));
    let (mut client, connection) = handshake.await.unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { drop(connection.await) });
    let request = |path: &str| {
        let uri = format!("https://node-1{path}");
        http::Request::get(uri).body(http_body_util::Empty::<bytes::Bytes>::new()).unwrap()
    };
    let path = "/containerLogs/default/web-node1/main?follow=true";
    let mut followed = client.send_request(request(path)).await.unwrap().into_body();
    let first = followed.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(first, "one\n");
    let health = client.send_request(request("/healthz")).await.unwrap();
    assert_eq!(health.status(), 200);
    append(&log, 1, "two");
    let second = tokio::time::timeout(DEADLINE, followed.frame()).await.expect("the second line in time");
    assert_eq!(second.unwrap().unwrap().into_data().unwrap(), "two\n");
    readers_of(&log, 1).await;
    drop(followed);
    readers_of(&log, 0).await;
    let health = client.send_request(request("/healthz")).await.unwrap();
    assert_eq!(health.status(), 200, "the connection outlives the stream that was given up");
    rig.finish().await;
}

#[tokio::test]
async fn a60_silent_strangers_cost_the_api_server_nothing() {
    let rig = Rig::new(json!({})).await;
    rig.pod("web", &["one"]);
    let mut follower = rig.follow("/containerLogs/default/web-node1/main?follow=true").await;
    follower.until("one\n").await;
    let mut silent = Vec::new();
    for _ in 0..super::super::listener::CONNECTIONS + 20 {
        silent.push(TcpStream::connect(rig.https()).await.unwrap());
    }
    assert_eq!(rig.get(Some(&rig.api_server()), "/healthz").await.0, 200);
    let mut rest = [0; 1];
    let oldest =
        tokio::time::timeout(DEADLINE, silent[0].read(&mut rest)).await.expect("the oldest was closed");
    assert!(matches!(oldest, Ok(0) | Err(_)), "{oldest:?}");
    append(&rig.dir.path().join("logs/default_web-node1_uid-web/main/0.log"), 1, "two");
    follower.until("one\ntwo\n").await;
    rig.finish().await;
}

#[tokio::test]
async fn plain_http_gets_no_answer_from_https() {
    let rig = Rig::new(json!({})).await;
    let mut stream = TcpStream::connect(rig.https()).await.unwrap();
    stream.write_all(b"GET /pods HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _end = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut answer)).await.expect("closed in time");
    assert!(!String::from_utf8_lossy(&answer).contains("HTTP"), "{answer:?}");
    rig.finish().await;
}

#[tokio::test]
async fn b41_stop_ends_followed_logs_in_time() {
    let rig = Rig::new(json!({})).await;
    rig.pod("web", &["one"]);
    let path = "/containerLogs/default/web-node1/main?follow=true";
    let mut followers = Vec::new();
    for _ in 0..10 {
        let mut follower = rig.follow(path).await;
        follower.until("one\n").await;
        followers.push(follower);
    }
    rig.finish().await;
    for follower in followers {
        assert_eq!(follower.end().await, "one\n");
    }
}

#[tokio::test]
async fn the_certificate_of_our_own_outlives_a_restart() {
    let rig = Rig::new(json!({})).await;
    let read = |rig: &Rig| std::fs::read(rig.dir.path().join("pki/kubelet.crt")).unwrap();
    let first = read(&rig);
    let (supervisor, _supervision) =
        crate::supervise::Supervisor::new(tokio_util::sync::CancellationToken::new());
    let serving = super::rig::serving(rig.dir.path(), json!({}));
    let parts = super::rig::parts(rig.dir.path(), serving, rig.views.clone(), rig.pods.clone());
    super::super::start(parts, &supervisor).await.unwrap();
    assert_eq!(read(&rig), first);
    supervisor.stop_token().cancel();
    rig.finish().await;
}

/// The watch over the files, pass by pass.
#[test]
fn files_that_change_are_read_again_and_broken_ones_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let write = |name: &str, text: &str| std::fs::write(path(name), text).unwrap();
    let (first, second) = (Authority::new("first"), Authority::new("second"));
    let caller = |authority: &Authority| {
        let (chain, _) = authority.client("kube-apiserver", &[]);
        vec![CertificateDer::from_pem_slice(chain.as_bytes()).unwrap().into_owned()]
    };
    let (serving, replaced) = (first.client("serving", &[]), second.client("serving", &[]));
    write("crt", &serving.0);
    write("key", &serving.1);
    write("ca", &first.pem);
    let provider = std::sync::Arc::new(tls::provider(None));
    let shown = tls::Shown::new(pair::load(&path("crt"), &path("key"), &provider).unwrap());
    let mut reload = Reload {
        certificate: path("crt"),
        key: path("key"),
        client_ca: Some(path("ca")),
        provider,
        shown: std::sync::Arc::new(shown),
        trust: std::sync::Arc::new(trust::Trust::default()),
        seen: Seen::default(),
    };
    let known = |reload: &mut Reload| {
        reload.pass();
        [&first, &second].map(|authority| reload.trust.caller(&caller(authority)).is_some())
    };
    assert_eq!(known(&mut reload), [true, false]);
    write("ca", "torn");
    assert_eq!(known(&mut reload), [true, false]);
    write("ca", &second.pem);
    write("crt", &replaced.0);
    assert_eq!(known(&mut reload), [false, true], "the pair that does not fit is left out");
    write("key", &replaced.1);
    reload.pass();
    let before = reload.seen.clone();
    reload.pass();
    assert_eq!(reload.seen, before);
}

#[tokio::test]
async fn a_server_of_another_name_or_key_is_not_what_clients_see() {
    let rig = Rig::new(json!({})).await;
    let mut roots = RootCertStore::empty();
    let other = Authority::new("others");
    roots.add(CertificateDer::from_pem_slice(other.pem.as_bytes()).unwrap()).unwrap();
    let refused = connect(rig.https(), settings(roots, None, &[])).await;
    assert!(refused.is_err(), "the client sees our certificate and no other");
    rig.finish().await;
}
