//! What is written, how often, and what is left alone.

use super::*;

#[tokio::test(start_paused = true)]
async fn b68_an_idle_hour_costs_a_lease_every_ten_seconds_and_a_status_every_five_minutes() {
    let rig = healthy();
    sleep(Duration::from_secs(3_600)).await;
    let renewals = rig.lease_api.writes(&Method::PUT, LEASE);
    let gaps: Vec<_> = renewals.windows(2).map(|pair| pair[1].at.duration_since(pair[0].at)).collect();
    let within = Duration::from_secs(9)..=Duration::from_secs(11);
    assert!(gaps.iter().all(|gap| within.contains(gap)), "{gaps:?}");
    assert!((340..=361).contains(&renewals.len()), "{}", renewals.len());
    let patches = rig.patches();
    assert!((10..=14).contains(&patches.len()), "{}", patches.len());
    let far_apart = patches.windows(2).all(|pair| pair[1].at.duration_since(pair[0].at).as_secs() >= 40);
    assert!(far_apart, "{patches:?}");
    let reads = rig.api.seen().iter().filter(|seen| seen.method == Method::GET && seen.path == NODE).count();
    assert_eq!(reads, 0, "a write must not read first");
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn b27_what_others_write_stays_through_a_hundred_syncs() {
    let rig = healthy();
    rig.until(1, "Ready node", Rig::is_ready).await;
    let theirs = json!({
        "metadata": {"labels": {"example.com/x": "y"}, "annotations": {"example.com/a": "b"}},
        "spec": {"taints": [{"key": "example.com/t", "effect": "NoSchedule"}], "podCIDR": "10.0.0.0/24"},
        "status": {"conditions": [{"type": "KernelDeadlock", "status": "False", "reason": "KernelHasNoDeadlock"}]}
    });
    rig.api.patch(NODE, &theirs);
    let mut lost = 0;
    for count in 0..100 {
        // Every sync has something to write, and they write between two of ours.
        *rig.host.ip.lock().unwrap() = IpAddr::from([192, 0, 2, count + 1]);
        rig.api.patch(NODE, &json!({"metadata": {"annotations": {"example.com/count": count.to_string()}}}));
        sleep(Duration::from_secs(11)).await;
        let node = rig.api.node();
        let kept = node["metadata"]["labels"]["example.com/x"] == "y"
            && node["metadata"]["annotations"]["example.com/a"] == "b"
            && node["metadata"]["annotations"]["example.com/count"] == json!(count.to_string())
            && node["spec"] == theirs["spec"]
            && node["status"]["conditions"].as_array().unwrap().contains(&theirs["status"]["conditions"][0]);
        lost += i32::from(!kept);
    }
    assert_eq!(lost, 0);
    let patches = rig.patches();
    assert!(patches.len() >= 100, "{}", patches.len());
    let all = format!("{patches:?}");
    assert!(!all.contains("KernelDeadlock") && !all.contains("example.com") && !all.contains("spec"));
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn a17_a_wrong_address_and_a_wrong_condition_are_put_right_within_ten_seconds() {
    let rig = healthy();
    rig.until(1, "Ready node", Rig::is_ready).await;
    for _ in 0..5 {
        let wrong = json!([{"type": "InternalIP", "address": "203.0.113.66"}, {"type": "ExternalDNS",
            "address": "evil.example.com"}]);
        rig.api.patch(
            NODE,
            &json!({"status": {"addresses": wrong,
            "conditions": [{"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown"}]}}),
        );
        let took = rig
            .until(10, "right address", |rig| {
                let addresses = rig.api.node()["status"]["addresses"].clone();
                addresses.as_array().is_some_and(|list| list.len() == 2)
                    && addresses[0]["address"] == "192.0.2.7"
                    && rig.is_ready()
            })
            .await;
        assert!(took <= Duration::from_secs(10), "{took:?}");
    }
    assert!(!format!("{:?}", rig.patches()).contains("evil.example.com"));
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_address_that_changes_here_is_told() {
    let rig = healthy();
    rig.until(1, "Ready node", Rig::is_ready).await;
    *rig.host.ip.lock().unwrap() = "192.0.2.99".parse().unwrap();
    rig.until(11, "new address", |rig| rig.api.node()["status"]["addresses"][0]["address"] == "192.0.2.99")
        .await;
    rig.end().await;
}

#[tokio::test(start_paused = true)]
async fn a81_no_write_goes_beyond_what_a_node_may_write() {
    let rig = healthy();
    sleep(Duration::from_secs(700)).await;
    for seen in rig.api.seen().iter().filter(|seen| seen.method != Method::GET) {
        let text = seen.body.to_string();
        let is_lease = seen.path.contains("/kube-node-lease/leases");
        let own = seen.path.ends_with("/node1")
            || seen.path.ends_with("/node1/status")
            || seen.method == Method::POST;
        assert!(own, "{seen:?}");
        assert!(is_lease || !text.contains("ownerReferences"), "{seen:?}");
        assert!(!text.contains("node-restriction.kubernetes.io"), "{seen:?}");
        assert!(seen.method != Method::PATCH || seen.body.get("spec").is_none(), "{seen:?}");
        assert!(seen.method != Method::PUT || is_lease, "{seen:?}");
    }
    rig.end().await;
}
