//! Every kind of volume in one pod: set up, found again, kept as its sources are.

use super::*;

const MAP: &str = "/api/v1/namespaces/ns/configmaps/m";
const SECRET: &str = "/api/v1/namespaces/ns/secrets/s";

fn with(labels: Value, volumes: Value) -> Arc<DesiredPod> {
    let mut inner = pod_with(volumes);
    inner.metadata.labels = serde_json::from_value(labels).unwrap();
    Arc::new(DesiredPod { pod: Arc::new(inner), ..(*pod()).clone() })
}

fn all(label: &str) -> Arc<DesiredPod> {
    let labels = json!([{ "path": "labels", "fieldRef": { "fieldPath": "metadata.labels" } }]);
    with(
        json!({ "age": label }),
        json!([
            { "name": "disk", "emptyDir": {} },
            { "name": "memory", "emptyDir": { "medium": "Memory" } },
            { "name": "host", "hostPath": { "path": "/host", "type": "DirectoryOrCreate" } },
            { "name": "map", "configMap": { "name": "m" } },
            { "name": "secret", "secret": { "secretName": "s" } },
            { "name": "down", "downwardAPI": { "items": labels } },
        ]),
    )
}

/// With the objects that the pod refers to.
fn ground() -> Ground {
    let ground = Ground::new();
    put_map(&ground, "1");
    let secret = json!({ "metadata": {}, "data": { "k": "YzRuYXJ5" } });
    ground.server.set(|state| drop(state.objects.insert(SECRET, secret)));
    ground
}

fn put_map(ground: &Ground, text: &str) {
    let map = json!({ "metadata": {}, "data": { "k": text } });
    ground.server.set(|state| drop(state.objects.insert(MAP, map)));
}

async fn bring(volumes: &Volumes, pod: &Arc<DesiredPod>) -> Result<(), SetUpError> {
    volumes.set_up(pod, &CancellationToken::new()).await
}

fn mounts(ground: &Ground) -> Vec<String> {
    let name = |path: PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
    let mut all: Vec<_> =
        ground.disk.mounts(&PathBuf::from("/r")).unwrap().into_iter().map(|mount| name(mount.path)).collect();
    all.sort();
    all
}

#[tokio::test(start_paused = true)]
async fn a32_each_kind_is_where_it_belongs() {
    let ground = ground();
    let volumes = ground.volumes();
    bring(&volumes, &all("old")).await.unwrap();
    assert_eq!(ground.file_in("kubernetes.io~configmap/map", "k"), "1");
    assert_eq!(ground.file_in("kubernetes.io~secret/secret", "k"), "c4nary");
    assert_eq!(ground.file_in("kubernetes.io~downward-api/down", "labels"), "age=\"old\"");
    assert_eq!(mounts(&ground), ["down", "memory", "secret"]);
    let kind = |path: &str| ground.disk.kind(&PathBuf::from(path)).unwrap().is_some();
    assert!(kind("/host") && kind("/r/pods/u1/volumes/kubernetes.io~empty-dir/disk"));
    assert!(!format!("{volumes:?}").contains("c4nary"));
    volumes.tear_down(&pod().uid).await.unwrap();
    assert!(mounts(&ground).is_empty() && kind("/host"));
}

#[tokio::test(start_paused = true)]
async fn all_objects_are_asked_for_at_once() {
    let ground = ground();
    ground.server.set(|state| state.hangs = true);
    let began = tokio::time::Instant::now();
    let error = bring(&ground.volumes(), &all("x")).await.unwrap_err().to_string();
    assert_eq!((began.elapsed(), ground.server.calls()), (Duration::from_secs(10), 2));
    assert!(error.contains("volume \"map\" : failed to get configmap \"m\""), "{error}");
    assert!(error.contains("volume \"secret\" : failed to get secret \"s\""), "{error}");
}

#[tokio::test(start_paused = true)]
async fn one_that_fails_keeps_no_other_from_being_ready() {
    let ground = ground();
    let volumes = ground.volumes();
    ground.server.set(|state| drop(state.objects.remove(SECRET)));
    ground.disk.put(&PathBuf::from("/host"), b"a file");
    assert!(bring(&volumes, &all("x")).await.is_err());
    let begin = "FailedMount MountVolume.SetUp failed for volume";
    let mut told = ground.messages();
    told.sort();
    assert_eq!(
        told,
        [
            format!("{begin} \"host\" : hostPath type check failed: /host is not a directory"),
            format!("{begin} \"secret\" : secret \"s\" not found"),
        ]
    );
    assert_eq!(ground.file_in("kubernetes.io~configmap/map", "k"), "1");
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_without_the_api_server_all_is_kept() {
    let ground = ground();
    bring(&ground.volumes(), &all("old")).await.unwrap();
    ground.server.set(|state| state.hangs = true);
    let (calls, changes) = (ground.server.calls(), ground.disk.changes());
    bring(&ground.volumes(), &all("old")).await.unwrap();
    assert_eq!((ground.server.calls(), ground.disk.changes()), (calls, changes));
}

#[tokio::test(start_paused = true)]
async fn after_a_reboot_what_lay_in_memory_is_made_again() {
    let ground = ground();
    bring(&ground.volumes(), &all("old")).await.unwrap();
    let kept = PathBuf::from("/r/pods/u1/volumes/kubernetes.io~empty-dir/disk/data");
    ground.disk.put(&kept, b"x");
    for mount in ground.disk.mounts(&PathBuf::from("/r")).unwrap() {
        ground.disk.unmount(&mount.path).unwrap();
    }
    let calls = ground.server.calls();
    bring(&ground.volumes(), &all("old")).await.unwrap();
    assert_eq!(ground.server.calls(), calls + 1, "the secret; the ConfigMap lies on the disk");
    assert_eq!(mounts(&ground), ["down", "memory", "secret"]);
    assert_eq!(ground.file_in("kubernetes.io~secret/secret", "k"), "c4nary");
    assert!(ground.disk.files().contains_key(&kept));
}

#[tokio::test(start_paused = true)]
async fn labels_are_followed_also_those_that_changed_while_the_agent_was_away() {
    let ground = ground();
    let volumes = ground.volumes();
    let _stop = run(&volumes);
    bring(&volumes, &all("old")).await.unwrap();
    after(1).await;
    let labels = || ground.file_in("kubernetes.io~downward-api/down", "labels");
    let changes = ground.disk.changes();
    volumes.update(&all("old"));
    after(1).await;
    assert_eq!(ground.disk.changes(), changes, "nothing changed");
    volumes.update(&all("new"));
    after(1).await;
    assert_eq!(labels(), "age=\"new\"");
    let volumes = ground.volumes();
    let _stop = run(&volumes);
    bring(&volumes, &all("newer")).await.unwrap();
    assert_eq!(labels(), "age=\"new\"");
    after(1).await;
    assert_eq!(labels(), "age=\"newer\"");
}

#[tokio::test(start_paused = true)]
async fn what_changed_is_written_once_the_pod_is_set_up_and_tried_again_if_that_fails() {
    let ground = ground();
    let volumes = ground.volumes();
    let _stop = run(&volumes);
    let text = || ground.file_in("kubernetes.io~configmap/map", "k");
    volumes.changed(&pod().uid);
    after(1).await;
    assert_eq!(ground.server.calls(), 0);
    bring(&volumes, &all("x")).await.unwrap();
    put_map(&ground, "2");
    volumes.changed(&pod().uid);
    after(1).await;
    assert_eq!(text(), "2");
    put_map(&ground, "3");
    let kind = io::ErrorKind::StorageFull;
    let failing = crate::disk::Failing {
        from: ground.disk.changes(),
        calls: u64::MAX,
        kind,
        partial: 0,
        after_rename: false,
    };
    ground.disk.set_failing(Some(failing));
    volumes.changed(&pod().uid);
    after(5).await;
    assert_eq!(text(), "2");
    ground.disk.set_failing(None);
    after(60).await;
    assert_eq!(text(), "3");
    let calls = ground.server.calls();
    after(3_600).await;
    assert_eq!(ground.server.calls(), calls, "no token is to be renewed");
}
