//! What a container is told by its environment, its `/etc/hosts` and its name.

use std::time::Duration;

use pinnace_cri::v1::ContainerConfig;
use serde_json::json;

use crate::harness::sleeper;
use crate::rig::{Rig, SOON, main_of};

fn config(rig: &Rig, uid: &str) -> ContainerConfig {
    let id = rig.container_id(uid);
    rig.make.fake.snapshot().containers[&id].config.clone()
}

fn variables(config: &ContainerConfig) -> Vec<String> {
    let line = |(key, value): (&str, &[u8])| format!("{key}={}", String::from_utf8_lossy(value));
    config.envs.iter().map(|var| line((&var.key, &var.value))).collect()
}

async fn until_waiting(rig: &Rig, name: &str, message: &str) {
    let waits = |_: &crate::fake_api::FakeApi| {
        let pod = rig.pod(name).unwrap_or_default();
        let waiting = &main_of(&pod)["state"]["waiting"];
        waiting["reason"] == "CreateContainerConfigError" && waiting["message"] == message
    };
    rig.api.watch_until(&format!("{name} waits for {message}"), SOON, waits).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_missing_is_named_and_used_once_it_is_there() {
    let rig = Rig::new();
    let _agent = rig.start();
    rig.api.create(json!({ "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": "db", "namespace": "default" },
        "spec": { "clusterIP": "10.96.0.5", "ports": [{ "port": 5432, "protocol": "TCP" }] } }));
    let mut pod = sleeper("told");
    let container = &mut pod["spec"]["containers"][0];
    container["envFrom"] = json!([{ "prefix": "P_", "configMapRef": { "name": "settings" } }]);
    let key = |name: &str, key: &str| json!({ "secretKeyRef": { "name": name, "key": key } });
    let field = |path: &str| json!({ "fieldRef": { "fieldPath": path } });
    container["env"] = json!([
        { "name": "SECRET", "valueFrom": key("keys", "k") },
        { "name": "NAME", "valueFrom": field("metadata.name") },
        { "name": "POD", "valueFrom": field("status.podIP") },
        { "name": "HOST", "valueFrom": field("status.hostIP") },
        { "name": "CPUS", "valueFrom": { "resourceFieldRef": { "resource": "limits.cpu" } } },
        { "name": "ALL", "value": "$(P_a)/$(SECRET)/$(DB_SERVICE_PORT)/$$(NAME)/$(ABSENT)" },
    ]);
    container["args"] = json!(["$(NAME)", "$(DB_SERVICE_HOST)"]);
    pod["spec"]["enableServiceLinks"] = json!(true);
    pod["spec"]["subdomain"] = json!("names");
    pod["spec"]["hostAliases"] = json!([{ "ip": "192.0.2.1", "hostnames": ["a", "b"] }]);
    let uid = rig.create(&pod);

    until_waiting(&rig, "told", "configmap \"settings\" not found").await;
    rig.api.create(json!({ "apiVersion": "v1", "kind": "ConfigMap", "data": { "a": "one" },
        "metadata": { "name": "settings", "namespace": "default" } }));
    until_waiting(&rig, "told", "secret \"keys\" not found").await;
    rig.api.create(json!({ "apiVersion": "v1", "kind": "Secret", "data": { "other": "eA==" },
        "metadata": { "name": "keys", "namespace": "default" } }));
    until_waiting(&rig, "told", "couldn't find key k in Secret default/keys").await;
    rig.api.update("secrets", "default", "keys", |secret| secret["data"] = json!({ "k": "YzRuYXJ5" }));
    rig.until_ready_within("told", Duration::from_secs(60)).await;

    let config = config(&rig, &uid);
    let ip = rig.pod("told").unwrap()["status"]["podIP"].as_str().unwrap().to_owned();
    let found = variables(&config);
    let own = [
        "P_a=one".to_owned(),
        "SECRET=c4nary".to_owned(),
        "NAME=told".to_owned(),
        format!("POD={ip}"),
        "HOST=192.0.2.7".to_owned(),
        "CPUS=4".to_owned(),
        "ALL=one/c4nary/5432/$(NAME)/$(ABSENT)".to_owned(),
    ];
    assert_eq!(found[..own.len()], own);
    assert!(found.contains(&"DB_PORT_5432_TCP=tcp://10.96.0.5:5432".to_owned()), "{found:?}");
    assert_eq!(config.args, ["told", "10.96.0.5"]);

    let mount = config.mounts.iter().find(|mount| mount.container_path == "/etc/hosts").unwrap();
    let file = rig.make.disk.read(mount.host_path.as_ref(), 4096).unwrap();
    assert_eq!(
        String::from_utf8(file).unwrap().lines().skip(7).collect::<Vec<_>>(),
        [
            &*format!("{ip}\ttold.names.default.svc.cluster.local\ttold"),
            "",
            "# Entries added by HostAliases.",
            "192.0.2.1\ta\tb",
        ]
    );
    rig.check_manners();
}

#[tokio::test(start_paused = true)]
async fn a_name_that_the_kernel_cannot_hold_is_told_and_runs_nothing() {
    let rig = Rig::new();
    let _agent = rig.start();
    let mut pod = sleeper(&"n".repeat(40));
    pod["spec"]["subdomain"] = json!("names");
    pod["spec"]["setHostnameAsFQDN"] = json!(true);
    rig.create(&pod);
    let said = |api: &crate::fake_api::FakeApi| {
        let events = api.list("events").into_iter().chain(api.list("events.events.k8s.io"));
        events.map(|event| event.to_string()).any(|event| {
            event.contains("FailedCreatePodSandBox")
                && event.contains("Failed to create pod sandbox: failed to construct FQDN")
                && event.contains("is too long (64 characters is the max, 72 characters requested)")
        })
    };
    rig.api.watch_until("the event", SOON, said).await;
    assert_eq!(rig.sandboxes_made(), 0);
    let waits = |_: &crate::fake_api::FakeApi| {
        let pod = rig.pod(&"n".repeat(40)).unwrap_or_default();
        main_of(&pod)["state"]["waiting"]["reason"] == "ContainerCreating"
    };
    rig.api.watch_until("the pod waits", SOON, waits).await;
}

#[tokio::test(start_paused = true)]
async fn variables_are_read_from_a_file_that_another_container_has_written() {
    let rig = Rig::new();
    let _agent = rig.start();
    let mut pod = sleeper("filed");
    let key = |name: &str, path: &str, key: &str, optional: bool| {
        let file = json!({ "volumeName": "shared", "path": path, "key": key, "optional": optional });
        json!({ "name": name, "valueFrom": { "fileKeyRef": file } })
    };
    pod["spec"]["volumes"] = json!([{ "name": "shared", "emptyDir": {} }]);
    let mut writer = pod["spec"]["containers"][0].clone();
    writer["name"] = json!("writer");
    writer["volumeMounts"] = json!([{ "name": "shared", "mountPath": "/shared" }]);
    let main = &mut pod["spec"]["containers"][0];
    main["env"] = json!([
        key("A", "d/e.env", "KEY", false), key("NONE", "d/e.env", "OTHER", true), key("GONE", "no", "K", true),
        { "name": "ALL", "value": "$(A)-$(NONE)" },
    ]);
    pod["spec"]["containers"].as_array_mut().unwrap().push(writer);
    let uid = rig.create(&pod);

    let told = "couldn't parse env file: \"d/e.env\" of volume \"shared\" does not exist";
    until_waiting(&rig, "filed", told).await;
    let volume =
        rig.make.dir.path().join("root/pods").join(&uid).join("volumes/kubernetes.io~empty-dir/shared");
    rig.make.disk.create_dir_all(&volume.join("d")).unwrap();
    let write = |text: &str| rig.make.disk.overwrite(&volume.join("d/e.env"), text.as_bytes()).unwrap();
    write("KEY=c4nary\n");
    let told = "couldn't parse env file: \"d/e.env\" of volume \"shared\": value must be enclosed in single quotes at line 1";
    until_waiting(&rig, "filed", told).await;
    write("# of the writer\nKEY='two\nlines' # and more\n");
    rig.until_ready_within("filed", Duration::from_secs(60)).await;
    let snapshot = rig.make.fake.snapshot();
    let found = snapshot.containers_of(&uid).into_iter().find(|found| found.metadata().name == "main");
    assert_eq!(variables(&found.unwrap().config)[..2], ["A=two\nlines", "ALL=two\nlines-$(NONE)"]);
    rig.check_manners();
}
