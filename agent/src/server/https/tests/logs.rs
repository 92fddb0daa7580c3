//! Container logs over HTTPS: parameters, refusals, and what a pod could plant.

use std::os::unix::fs::symlink;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::rig::{DEADLINE, Rig, append, readers_of};

const LOG: &str = "/containerLogs/default/web-node1/main";

async fn log(rig: &Rig, query: &str) -> (u16, String) {
    rig.get(Some(&rig.api_server()), &format!("{LOG}?{query}")).await
}

#[tokio::test]
async fn every_parameter_does_its_work() {
    let rig = Rig::new(json!({})).await;
    rig.pod("web", &["one", "two", "three"]);
    let check = async |query: &str, wanted: &str| {
        assert_eq!(log(&rig, query).await, (200, wanted.to_owned()), "{query}");
    };
    check("", "one\ntwo\nthree\n").await;
    check("tailLines=2", "two\nthree\n").await;
    check("tailLines=0", "").await;
    check("tail=1", "three\n").await;
    check("limitBytes=5", "one\nt").await;
    check("tailLines=1&timestamps=true", "2026-11-21T10:00:02.000000000Z three\n").await;
    check("sinceTime=2026-11-21T10:00:01Z", "two\nthree\n").await;
    check("sinceTime=2026-11-21T11:00:01%2B01:00&tailLines=3", "two\nthree\n").await;
    check("sinceTime=2100-01-01T00:00:00Z", "").await;
    check("sinceSeconds=4000000000", "one\ntwo\nthree\n").await;
    check("stream=All", "one\ntwo\nthree\n").await;
    rig.finish().await;
}

#[tokio::test]
async fn refusals_have_the_kubelets_codes_and_words() {
    let rig = Rig::new(json!({})).await;
    rig.pod("web", &["one"]);
    let invalid = (422, r#"{"message": "Invalid request."}"#.to_owned());
    let undecodable = (400, r#"{"message": "Unable to decode query."}"#.to_owned());
    assert_eq!(log(&rig, "tailLines=-1").await, invalid);
    assert_eq!(log(&rig, "sinceSeconds=1&sinceTime=2026-01-01T00:00:00Z").await, invalid);
    assert_eq!(log(&rig, "limitBytes=x").await, undecodable);
    let wanted = "previous terminated container \"main\" in pod \"web-node1\" not found";
    assert_eq!(log(&rig, "previous=true").await, (400, wanted.to_owned()));
    rig.views.containers.lock().unwrap()[0].state = "Waiting".to_owned();
    rig.views.containers.lock().unwrap()[0].reason = "ImagePullBackOff".to_owned();
    let wanted =
        "container \"main\" in pod \"web-node1\" is waiting to start: trying and failing to pull image";
    assert_eq!(log(&rig, "").await, (400, wanted.to_owned()));
    rig.finish().await;
}

#[tokio::test]
async fn a28_what_a_pod_plants_beneath_the_log_directory_is_not_shown() {
    let rig = Rig::new(json!({})).await;
    let path = rig.pod("web", &["one"]);
    let secret = rig.dir.path().join("shadow");
    std::fs::write(&secret, "2026-11-21T10:00:00Z stdout F secret\n").unwrap();
    let asked = async |what: &str| {
        for query in ["", "tailLines=1", "follow=true", "previous=true"] {
            let (code, answer) = log(&rig, query).await;
            assert!(
                (400..=500).contains(&code) && !answer.contains("secret"),
                "{what} {query}: {code} {answer}"
            );
        }
    };
    std::fs::remove_file(&path).unwrap();
    symlink(&secret, &path).unwrap();
    asked("the log is a link").await;
    std::fs::remove_file(&path).unwrap();
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    asked("the log is a pipe").await;
    std::fs::remove_file(&path).unwrap();
    let elsewhere = rig.dir.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    std::fs::copy(&secret, elsewhere.join("0.log")).unwrap();
    let directory = path.parent().unwrap();
    std::fs::remove_dir(directory).unwrap();
    symlink(&elsewhere, directory).unwrap();
    asked("the container's directory is a link").await;
    let pod = directory.parent().unwrap();
    std::fs::remove_file(directory).unwrap();
    std::fs::remove_dir(pod).unwrap();
    std::fs::create_dir(elsewhere.join("main")).unwrap();
    std::fs::copy(&secret, elsewhere.join("main/0.log")).unwrap();
    symlink(&elsewhere, pod).unwrap();
    asked("the pod's directory is a link").await;
    rig.finish().await;
}

#[tokio::test]
async fn a28_a_log_outside_the_log_directory_is_not_opened() {
    let rig = Rig::new(json!({})).await;
    let secret = rig.dir.path().join("shadow");
    std::fs::write(&secret, "secret").unwrap();
    rig.views.add("web", Some(secret));
    let (code, answer) = log(&rig, "").await;
    assert!(code == 500 && !answer.contains("secret"), "{answer}");
    rig.finish().await;
}

#[tokio::test]
async fn a30_names_that_are_not_this_nodes_touch_no_file() {
    let rig = Rig::new(json!({})).await;
    rig.pod("web", &["one"]);
    // Directories that a careless reader would find.
    rig.pod("db", &["two"]);
    rig.views.pods.lock().unwrap().pop();
    let check = async |path: &str, wanted: &str| {
        let found = rig.get(Some(&rig.api_server()), path).await;
        assert_eq!(found, (404, wanted.to_owned()), "{path}");
    };
    check("/containerLogs/default/db-node1/main", "pod \"db-node1\" does not exist").await;
    check("/containerLogs/kube-system/web-node1/main", "pod \"web-node1\" does not exist").await;
    check("/containerLogs/default/uid-web/main", "pod \"uid-web\" does not exist").await;
    check(&format!("{LOG}x"), "container \"mainx\" not found in pod \"web-node1\"").await;
    for path in ["/containerLogs/default/web-node1/..", "/containerLogs/../web-node1/main"] {
        assert_eq!(rig.get(Some(&rig.api_server()), path).await.0, 400, "{path}");
    }
    rig.finish().await;
}

#[tokio::test]
async fn a_followed_log_goes_on_over_rotation_until_its_container_ends() {
    let rig = Rig::new(json!({})).await;
    let path = rig.pod("web", &["none", "one"]);
    let mut follower = rig.follow(&format!("{LOG}?follow=true&tailLines=1")).await;
    follower.until("one\n").await;
    append(&path, 1, "two");
    follower.until("one\ntwo\n").await;
    let rotated = path.with_extension("log.20261121-100000");
    std::fs::rename(&path, &rotated).unwrap();
    append(&rotated, 2, "three");
    append(&path, 3, "four");
    follower.until("one\ntwo\nthree\nfour\n").await;
    append(&path, 4, "five");
    rig.views.end_containers();
    assert_eq!(follower.end().await, "one\ntwo\nthree\nfour\nfive\n");
    rig.finish().await;
}

#[tokio::test]
async fn a_reader_that_goes_away_frees_the_log() {
    let rig = Rig::new(json!({})).await;
    let path = rig.pod("web", &["one"]);
    let mut readers = Vec::new();
    for _ in 0..3 {
        readers.push(rig.follow(&format!("{LOG}?follow=1")).await);
    }
    readers_of(&path, 3).await;
    drop(readers);
    readers_of(&path, 0).await;
    rig.finish().await;
}

#[tokio::test]
async fn a_slow_reader_holds_the_log_back() {
    let rig = Rig::new(json!({})).await;
    let path = rig.pod("web", &[]);
    let line = format!("2026-11-21T10:00:00Z stdout F {}\n", "x".repeat(1_000));
    std::fs::write(&path, line.repeat(30_000)).unwrap();
    let mut stream = rig.connect(Some(&rig.api_server()), &["http/1.1"]).await;
    stream
        .write_all(format!("GET {LOG} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let mut total = 0;
    let mut piece = vec![0; 64 << 10];
    loop {
        match tokio::time::timeout(DEADLINE, stream.read(&mut piece)).await.expect("the log goes on") {
            Ok(0) | Err(_) => break,
            Ok(read) => total += read,
        }
        tokio::task::yield_now().await;
    }
    assert!(total > 30_000 * 1_001, "{total} bytes came");
    rig.finish().await;
}
