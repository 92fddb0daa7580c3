//! Volumes in huge pages.

use super::*;

#[tokio::test(start_paused = true)]
async fn huge_pages_are_of_the_size_that_the_pod_asks_for() {
    let ground = Ground::new();
    let volume = json!([{ "name": "huge", "emptyDir": { "medium": "HugePages" } }]);
    let mut pod = pod_with(volume);
    let (uid, never) = (PodUid::new("u1").unwrap(), CancellationToken::new());
    let desired = |pod: &k8s_openapi::api::core::v1::Pod| {
        let origin = Origin::Api;
        let (namespace, name) = ("ns".to_owned(), "web".to_owned());
        Arc::new(DesiredPod {
            uid: uid.clone(),
            namespace,
            name,
            origin,
            pod: Arc::new(pod.clone()),
            held: Vec::new(),
        })
    };
    let volumes = ground.volumes();
    let told = volumes.set_up(&desired(&pod), &never).await.unwrap_err().to_string();
    assert!(told.contains("medium HugePages: hugePages storage requested, but there is no"), "{told}");
    let resources = json!({ "limits": { "hugepages-2Mi": "2Mi" } });
    pod.spec.as_mut().unwrap().containers[0].resources = serde_json::from_value(resources).unwrap();
    volumes.set_up(&desired(&pod), &never).await.unwrap();
    let place = PathBuf::from("/r/pods/u1/volumes/kubernetes.io~empty-dir/huge");
    let mounts = ground.disk.mounts(&place).unwrap();
    assert_eq!(mounts.iter().map(|mount| mount.kind.as_str()).collect::<Vec<_>>(), ["hugetlbfs"]);
    volumes.tear_down(&uid).await.unwrap();
    assert!(ground.disk.mounts(&place).unwrap().is_empty());
}
