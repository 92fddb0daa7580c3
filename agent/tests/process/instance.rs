//! The process itself: one per directory, its files' modes, its end, its configuration, and systemd.

use std::collections::BTreeSet;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use pinnace_cri::fake::{Call, FaultKind, FaultRule, Select};
use serde_json::json;
use tokio::time::Instant;

use crate::machine::{Machine, PATIENCE, pod, sleeper};

/// Calls that touch a container or a sandbox that is there.
fn touches(machine: &Machine) -> usize {
    let calls = [Call::StopContainer, Call::RemoveContainer, Call::StopPodSandbox, Call::RemovePodSandbox];
    machine.fake.count_calls(|record| calls.contains(&record.call))
}

#[tokio::test(flavor = "multi_thread")]
async fn b20_a_second_instance_ends_at_once_and_names_the_first() {
    let mut machine = Machine::running().await;
    machine.until(&["pods"], "the agent answers", |said| said.code == Some(0)).await;
    let pid = machine.agent.as_ref().unwrap().id().unwrap();
    let flags = machine.flags();
    let arguments: Vec<&str> = std::iter::once("run").chain(flags.iter().map(String::as_str)).collect();
    let began = Instant::now();
    let second = machine.ask(&arguments).await;
    assert!(began.elapsed() < Duration::from_secs(10));
    assert_eq!(second.code, Some(6), "{second:?}");
    assert!(
        second.err.contains(&format!("process {pid}")) && second.err.contains("--root-dir"),
        "{second:?}"
    );
    machine.assert_alive();
    assert_eq!(machine.ask(&["pods"]).await.code, Some(0), "the socket of the first is left alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn b20_a_taken_socket_or_port_is_named_with_the_flag_that_helps() {
    let machine = Machine::running().await;
    machine.until(&["pods"], "the agent answers", |said| said.code == Some(0)).await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = format!("--healthz-port={}", taken.local_addr().unwrap().port());
    let socket = format!("--admin-socket={}", machine.root().join("pinnace.sock").display());
    for (flag, code, words) in [(socket, 6, "already running"), (port, 1, "--healthz-port")] {
        let mut flags: Vec<String> = machine.flags();
        flags.retain(|flag| !flag.starts_with("--root-dir"));
        flags.extend([format!("--root-dir={}", machine.path("other").display()), flag]);
        let arguments: Vec<&str> = std::iter::once("run").chain(flags.iter().map(String::as_str)).collect();
        let said = machine.ask(&arguments).await;
        assert_eq!(said.code, Some(code), "{said:?}");
        assert!(said.err.contains(words), "{said:?}");
    }
    assert_eq!(machine.ask(&["pods"]).await.code, Some(0), "the first goes on");
}

#[test]
fn under_the_kubelets_name_it_answers_as_the_kubelet() {
    use std::os::unix::process::CommandExt;
    let kubelet = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_pinnace"));
        let output = command.arg0("/usr/bin/kubelet").args(arguments).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (code, version, _) = kubelet(&["--version"]);
    assert!(code == Some(0) && version.starts_with("Kubernetes v1.36.3+pinnace."), "{version}");
    let (code, _, told) = kubelet(&["--kubconfig=/x"]);
    assert_eq!(code, Some(2), "{told}");
    assert!(told.starts_with("error: unknown flag --kubconfig; there is --kubeconfig\n"), "{told}");
    let (code, _, told) = kubelet(&["--bootstrap-kubeconfig=/etc/b", "--kubeconfig", "/no/such"]);
    assert_eq!(code, Some(5), "{told}");
    assert!(told.contains("--bootstrap-kubeconfig: /no/such is missing"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn b41_sigterm_ends_within_5_s_and_touches_no_container() {
    let mut machine = Machine::running().await;
    machine.write("web.json", &sleeper("web"));
    let id = machine.until_running("web").await;
    // Streams are open, a pull and a sandbox are on their way and will not come back.
    let mut streams = Vec::new();
    for _ in 0..20 {
        let mut follower = tokio::process::Command::new(env!("CARGO_BIN_EXE_pinnace"));
        follower.args(["logs", "-f", "web", "--admin-socket"]).arg(machine.root().join("pinnace.sock"));
        streams.push(follower.stdout(std::process::Stdio::null()).kill_on_drop(true).spawn().unwrap());
    }
    machine.fake.fault(FaultRule::on(Call::PullImage, FaultKind::Hang));
    machine
        .fake
        .fault(FaultRule::on(Call::RunPodSandbox, FaultKind::Hang).of(Select::any().pod("slow-node1")));
    machine.write("slow.json", &sleeper("slow"));
    let mut pulling = pod("pulling", "Always", &["sleep", "infinity"]);
    pulling["spec"]["containers"][0]["image"] = "example.test/slow:1".into();
    machine.write("pulling.json", &pulling.to_string());
    let busy = |fake: &pinnace_cri::fake::Fake| {
        fake.in_flight_of(Call::PullImage) > 0 && fake.in_flight_of(Call::RunPodSandbox) > 0
    };
    assert!(machine.fake.wait_until(PATIENCE, busy).await, "{}", machine.log());

    let (code, took) = machine.terminate().await;
    assert!(took <= Duration::from_secs(5), "took {took:?}\n{}", machine.log());
    assert_eq!(code, Some(0), "{}", machine.log());
    assert_eq!(touches(&machine), 0);
    assert!(machine.fake.snapshot().running().iter().any(|container| container.id == id));
    assert!(!machine.root().join("pinnace.sock").exists(), "the socket goes with its owner");
}

#[tokio::test(flavor = "multi_thread")]
async fn b31_twenty_kills_during_churn_change_no_container_id() {
    let mut machine = Machine::running().await;
    let witnesses: Vec<String> = (0..10).map(|number| format!("witness-{number}")).collect();
    for name in &witnesses {
        machine.write(&format!("{name}.json"), &sleeper(name));
    }
    for name in &witnesses {
        machine.until_running(name).await;
    }
    let ids = |machine: &Machine| -> BTreeSet<String> {
        let snapshot = machine.fake.snapshot();
        let witness =
            snapshot.running().into_iter().filter(|container| container.log_path.contains("witness-"));
        witness.map(|container| container.id.clone()).collect()
    };
    let before = ids(&machine);
    assert_eq!(before.len(), witnesses.len());
    for round in 0..20_u64 {
        machine.write("churn.json", &sleeper(&format!("churn-{}", round % 3)));
        // Moments that differ: before the agent is up, while it starts the pod, after.
        tokio::time::sleep(Duration::from_millis(round * 37 % 400)).await;
        machine.kill().await;
        machine.start();
    }
    machine.remove("churn.json");
    let gone = |fake: &pinnace_cri::fake::Fake| fake.snapshot().sandboxes.len() == 10;
    assert!(machine.fake.wait_until(PATIENCE, gone).await, "{}", machine.log());
    assert_eq!(before, ids(&machine));
    for name in &witnesses {
        machine.until_running(name).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a34_nothing_of_the_agents_is_open_to_others() {
    let machine = Machine::running().await;
    machine.write("web.json", &pod("web", "Always", &["sh", "-c", "echo hello; sleep infinity"]).to_string());
    machine.until_running("web").await;
    let journal = machine.root().join("pinnace").join("journal");
    machine
        .until(&["pods"], "the journal is written", |_| {
            journal.read_dir().is_ok_and(|mut dir| dir.next().is_some())
        })
        .await;
    let mut seen = 0;
    walk(&machine.root(), &mut seen);
    walk(&machine.path("logs"), &mut seen);
    assert!(seen >= 10, "only {seen} files and directories were seen");
    let socket = std::fs::metadata(machine.root().join("pinnace.sock")).unwrap();
    assert_eq!(socket.permissions().mode() & 0o777, 0o600);
}

fn walk(path: &Path, seen: &mut usize) {
    let metadata = std::fs::symlink_metadata(path).unwrap();
    let (mode, kind) = (metadata.permissions().mode() & 0o7777, metadata.file_type());
    *seen += 1;
    // What a container writes as whatever user it has: its termination message. Its directories are closed.
    let message = path.components().any(|part| part.as_os_str() == "containers") && kind.is_file();
    // Log files are the runtime's; the directory above them is ours.
    let log = path.extension().is_some_and(|extension| extension == "log");
    // Every user of a container looks names up in it; the pod's directory above it is closed.
    let hosts = path.file_name().is_some_and(|name| name == "etc-hosts");
    let allowed = match () {
        () if message || log => 0o666,
        () if hosts => 0o644,
        () if kind.is_dir() => 0o750,
        () if kind.is_socket() => 0o600,
        () => 0o640,
    };
    assert_eq!(mode & !allowed, 0, "{} has mode {mode:o}", path.display());
    if kind.is_dir() {
        for entry in path.read_dir().unwrap() {
            walk(&entry.unwrap().path(), seen);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn systemd_is_told_of_start_life_and_end() {
    let mut machine = Machine::new();
    machine.serve().await;
    let path = machine.path("notify.sock");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    machine.start_with(&[("NOTIFY_SOCKET", path.as_os_str()), ("WATCHDOG_USEC", "400000".as_ref())]);
    let mut told = String::new();
    let mut hear = |wanted: &str, times: usize| {
        while told.matches(wanted).count() < times {
            let mut buffer = [0; 4096];
            let length = socket
                .recv(&mut buffer)
                .unwrap_or_else(|error| panic!("{wanted} does not come: {error}; {told}"));
            told += &String::from_utf8_lossy(&buffer[..length]);
            told += "\n";
        }
    };
    hear("READY=1", 1);
    hear("WATCHDOG=1", 4);
    let (code, _) = machine.terminate().await;
    hear("STOPPING=1", 1);
    assert_eq!(code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_the_configuration_name_file_and_field() {
    let machine = Machine::new();
    let cases = [
        (json!({ "maxPods": "many" }), "maxPods"),
        (json!({ "syncFrequency": "soon" }), "syncFrequency"),
        (json!({ "podLogsDir": 7 }), "podLogsDir"),
        (json!({ "healthzPort": 70_000 }), "healthzPort"),
    ];
    for (mut config, field) in cases {
        config["apiVersion"] = "kubelet.config.k8s.io/v1beta1".into();
        config["kind"] = "KubeletConfiguration".into();
        std::fs::write(machine.path("config.yaml"), config.to_string()).unwrap();
        refused(&machine, &["config.yaml", field]).await;
    }
    std::fs::write(machine.path("config.yaml"), "apiVersion: v1\nkind: Pod\n").unwrap();
    refused(&machine, &["config.yaml", "apiVersion", "kubelet.config.k8s.io/v1beta1"]).await;
    std::fs::remove_file(machine.path("config.yaml")).unwrap();
    refused(&machine, &["config.yaml"]).await;
    assert!(!machine.root().exists(), "nothing is made before the configuration is right");
}

async fn refused(machine: &Machine, words: &[&str]) {
    let flags = machine.flags();
    let arguments: Vec<&str> = std::iter::once("run").chain(flags.iter().map(String::as_str)).collect();
    let said = machine.ask(&arguments).await;
    assert_eq!(said.code, Some(5), "{said:?}");
    assert!(words.iter().all(|word| said.err.contains(word)), "{words:?} in {said:?}");
}
