use std::sync::Arc;
use std::time::Duration;

use pinnace_cri::call::Call;
use pinnace_cri::fake::{Code, Fake, FaultKind, FaultRule, Options, Times};
use pinnace_cri::v1;
use serde_json::json;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::keeper::Keeper;
use super::tree::MemoryTree;
use super::*;
use crate::pod::card::Cards;
use crate::source::example;

const POD: &str = "/kubepods/burstable/podu1";

struct Rig {
    fake: Fake,
    tree: Arc<MemoryTree>,
    cgroups: Cgroups,
    stop: CancellationToken,
    _tasks: JoinSet<()>,
}

fn host() -> Host {
    Host { cpus: 4, memory: 8 << 30, cfs_period: Some(100_000), pod_pids: Some(64), ..Host::default() }
}

fn rig(mode: Mode, said: Option<v1::CgroupDriver>, configured: CgroupDriver) -> Rig {
    let fake = Fake::new(Options::default());
    fake.configure(|switches| switches.cgroup_driver = said);
    rig_on(fake, mode, configured)
}

fn rig_on(fake: Fake, mode: Mode, configured: CgroupDriver) -> Rig {
    let tree = Arc::new(MemoryTree::default());
    let config = Config { mode, driver: configured, root: "/".into(), needed_by: Vec::new() };
    let cgroups = Cgroups::new(config, Arc::clone(&tree) as Arc<dyn Tree>);
    let stop = CancellationToken::new();
    let keeper = Keeper::new(cgroups.clone(), fake.client(), Arc::new(Cards::default()));
    let mut tasks = JoinSet::new();
    tasks.spawn(keeper.run(stop.clone()));
    Rig { fake, tree, cgroups, stop, _tasks: tasks }
}

fn whole() -> Mode {
    Mode::Whole(Box::new(host()))
}

fn pod() -> DesiredPod {
    let resources = json!({ "requests": { "cpu": "500m" }, "limits": { "memory": "64Mi" } });
    let spec = json!({ "containers": [{ "name": "c", "resources": resources }] });
    example::manifest("u1", "ns", "web", json!({ "metadata": {}, "spec": spec }))
}

#[tokio::test(start_paused = true)]
async fn a_pods_cgroup_is_made_before_its_sandbox_and_goes_after_it() {
    let rig = rig(whole(), Some(v1::CgroupDriver::Cgroupfs), CgroupDriver::Systemd);
    let pod = pod();
    assert_eq!(rig.cgroups.place(&pod).await.unwrap(), POD);
    assert_eq!(rig.cgroups.parent(&pod).await.unwrap(), POD);
    let value = |file| rig.tree.value(POD, file);
    assert_eq!((value("cpu.weight"), value("cpu.max")), ("20".into(), "max 100000".into()));
    assert_eq!((value("memory.max"), value("pids.max")), ((64 << 20).to_string(), "64".into()));
    rig.tree.populate(POD, true);
    assert!(!rig.cgroups.remove(&pod.uid, Left::Stay).await.unwrap());
    assert!(rig.cgroups.remove(&pod.uid, Left::Killed).await.unwrap());
    assert!(!rig.tree.all().iter().any(|cgroup| cgroup == POD));
}

#[tokio::test(start_paused = true)]
async fn the_runtimes_word_wins_over_the_configuration() {
    use v1::CgroupDriver::{Cgroupfs, Systemd};
    let slice = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podu1.slice";
    for (mode, said, configured, parent) in [
        (whole(), Some(Systemd), CgroupDriver::Cgroupfs, slice),
        (whole(), None, CgroupDriver::Systemd, slice),
        (whole(), None, CgroupDriver::Cgroupfs, POD),
        (Mode::Names, Some(Systemd), CgroupDriver::Cgroupfs, slice),
        (Mode::Names, Some(Cgroupfs), CgroupDriver::Systemd, ""),
        (Mode::Nothing("/x".into()), Some(Systemd), CgroupDriver::Cgroupfs, "/x"),
    ] {
        let makes = matches!(mode, Mode::Whole(_)) && parent == POD;
        let rig = rig(mode, said, configured);
        assert_eq!(rig.cgroups.place(&pod()).await.unwrap(), parent);
        assert_eq!(rig.cgroups.parent(&pod()).await.unwrap(), parent);
        assert_eq!(!rig.tree.all().is_empty(), makes, "{parent}");
        assert!(rig.cgroups.remove(&pod().uid, Left::Killed).await.unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn a_runtime_that_is_away_is_waited_for() {
    let fake = Fake::new(Options::default());
    let away = FaultKind::Error(Code::Unavailable, "made up".into());
    fake.fault(FaultRule::on(Call::RuntimeConfig, away).times(Times::Count(10)));
    let rig = rig_on(fake, whole(), CgroupDriver::Cgroupfs);
    let error = rig.cgroups.place(&pod()).await.unwrap_err();
    assert!(told(&error).contains("does not tell its cgroup driver"), "{}", told(&error));
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(rig.cgroups.place(&pod()).await.unwrap(), POD);
    assert!(!rig.stop.is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn a_runtime_that_answers_with_errors_three_times_ends_the_agent() {
    let fake = Fake::new(Options::default());
    fake.fault(FaultRule::on(Call::RuntimeConfig, FaultKind::Error(Code::Internal, "made up".into())));
    let began = tokio::time::Instant::now();
    let rig = rig_on(fake, whole(), CgroupDriver::Cgroupfs);
    rig.stop.cancelled().await;
    assert_eq!(began.elapsed().as_secs(), 4);
    assert!(rig.cgroups.refused().is_some_and(|problem| problem.contains("made up")));
    assert_eq!(rig.fake.count_calls(|record| record.call == Call::RuntimeConfig), 3);
}

#[tokio::test(start_paused = true)]
async fn a_reservation_is_the_limit_of_a_cgroup_once_that_is_there() {
    let amounts = [("memory".to_owned(), crate::quantity::Quantity::parse("1Gi").unwrap())];
    let other =
        amount::Other { key: "systemReservedCgroup", cgroup: "/system".into(), amounts: amounts.into() };
    let mode = Mode::Whole(Box::new(Host { others: vec![other], ..host() }));
    let rig = rig(mode, Some(v1::CgroupDriver::Cgroupfs), CgroupDriver::Cgroupfs);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(
        rig.tree.value("/kubepods", "memory.max"),
        (8_u64 << 30).to_string(),
        "one failure is not all"
    );
    rig.tree.make("/system").unwrap();
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(rig.tree.value("/system", "memory.max"), (1 << 30).to_string());
}

#[tokio::test(start_paused = true)]
async fn what_the_keeper_finds_changed_is_set_right_within_a_minute() {
    let rig = rig(whole(), Some(v1::CgroupDriver::Cgroupfs), CgroupDriver::Cgroupfs);
    rig.cgroups.place(&pod()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let all = (8_u64 << 30).to_string();
    assert_eq!(rig.tree.value("/kubepods", "memory.max"), all);
    rig.tree.write("/kubepods", "memory.max", "4096").unwrap();
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(rig.tree.value("/kubepods", "memory.max"), all);
}
