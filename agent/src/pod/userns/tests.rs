use std::io::ErrorKind;

use serde_json::json;

use super::*;
use crate::disk::{Failing, MemoryDisk};
use crate::runtime::watch::RuntimeHandler;

const UIDS: [&str; 3] = [
    "7ccd0718e7192bd1456ca704c7686e30",
    "7ccd0718e7192bd1456ca704c7686e31",
    "7ccd0718e7192bd1456ca704c7686e32",
];

fn uid(index: usize) -> PodUid {
    PodUid::new(UIDS[index]).unwrap()
}

fn dirs() -> Dirs {
    Dirs { root: "/r".into(), pod_logs: "/l".into(), container_logs: None }
}

fn said(user_namespaces: bool) -> Said {
    let handler = RuntimeHandler { user_namespaces, ..RuntimeHandler::default() };
    Said { handlers: vec![handler], ..Said::default() }
}

fn giver(disk: &Arc<MemoryDisk>, said: Option<Said>) -> Userns {
    let state = RuntimeState { said, ..RuntimeState::default() };
    let disk: Arc<dyn Disk> = disk.clone();
    Userns::new(disk, dirs(), watch::channel(state).1, 65_536)
}

fn own() -> PodSpec {
    serde_json::from_value(json!({ "hostUsers": false, "containers": [] })).unwrap()
}

fn with_pods() -> Arc<MemoryDisk> {
    let disk = Arc::new(MemoryDisk::default());
    for index in 0..UIDS.len() {
        disk.create_dir_all(&dirs().pod(&uid(index))).unwrap();
    }
    disk
}

async fn first(giver: &Userns, index: usize) -> Result<u32, UsernsError> {
    giver.of(&uid(index), &own()).await.map(|userns| userns.uids[0].host_id)
}

#[tokio::test]
async fn a_pod_keeps_its_block_over_a_restart_and_gives_it_back_with_its_directory() {
    let disk = with_pods();
    let giver_one = giver(&disk, Some(said(true)));
    let (zero, one) = (first(&giver_one, 0).await.unwrap(), first(&giver_one, 1).await.unwrap());
    assert_ne!(zero, one);
    assert_eq!(first(&giver_one, 0).await, Ok(zero));
    let again = giver(&disk, Some(said(true)));
    assert_eq!(first(&again, 1).await, Ok(one));
    let two = first(&again, 2).await.unwrap();
    assert!(two != zero && two != one);
    again.release(&uid(0));
    disk.remove_tree(&dirs().pod(&uid(0))).unwrap();
    let third = giver(&disk, Some(said(true)));
    assert_eq!(first(&third, 0).await, Ok(zero), "nobody else has it");
}

#[tokio::test]
async fn the_hosts_users_need_nothing() {
    let giver = giver(&Arc::new(MemoryDisk::default()), None);
    for host_users in [json!(null), json!(true)] {
        let spec = serde_json::from_value(json!({ "hostUsers": host_users, "containers": [] })).unwrap();
        assert_eq!(giver.of(&uid(0), &spec).await, Ok(security::of_the_host()));
    }
}

#[tokio::test]
async fn a_runtime_without_them_is_told_in_the_kubelets_words() {
    let disk = with_pods();
    let message = first(&giver(&disk, Some(said(false))), 0).await.unwrap_err().to_string();
    assert_eq!(message, "can't set `spec.hostUsers: false`, runtime does not support user namespaces");
    assert_eq!(giver(&disk, Some(said(true))).check(&own(), ""), Ok(()));
    let message = giver(&disk, Some(said(true))).check(&own(), "kata").unwrap_err().to_string();
    let wanted =
        "can't set `spec.hostUsers: false`, RuntimeClass handler \"kata\" does not support user namespaces";
    assert_eq!(message, wanted);
    assert_eq!(first(&giver(&disk, None), 0).await, Err(UsernsError::NotAsked));
    assert!(disk.files().is_empty());
}

#[tokio::test]
async fn a_block_that_is_not_on_disk_is_not_given() {
    let disk = with_pods();
    let giver = giver(&disk, Some(said(true)));
    let failing =
        Failing { from: 0, calls: 1, kind: ErrorKind::StorageFull, partial: 0, after_rename: false };
    disk.set_failing(Some(Failing { from: disk.changes(), ..failing }));
    assert!(matches!(first(&giver, 0).await, Err(UsernsError::Save(_))));
    disk.set_failing(None);
    assert!(first(&giver, 0).await.is_ok());
    assert!(disk.files().contains_key(&dirs().pod(&uid(0)).join("userns")));
}

#[tokio::test]
async fn a_record_that_nobody_can_read_stops_all_giving_until_it_is_gone() {
    let disk = with_pods();
    let record = dirs().pod(&uid(2)).join("userns");
    disk.put(&record, b"{");
    let giver = giver(&disk, Some(said(true)));
    let error = first(&giver, 0).await.unwrap_err();
    assert!(matches!(&error, UsernsError::Record { path, .. } if *path == record), "{error}");
    disk.remove_file(&record).unwrap();
    assert!(first(&giver, 0).await.is_ok());
}

#[tokio::test]
async fn a_range_that_was_mended_is_read_again() {
    let disk = with_pods();
    disk.put(Path::new("/etc/subuid"), b"kubelet:1:65536\n");
    disk.put(Path::new("/etc/subgid"), b"kubelet:1:65536\n");
    let giver = giver(&disk, Some(said(true)));
    assert!(matches!(first(&giver, 0).await, Err(UsernsError::Range(_))));
    for file in SUBORDINATE {
        disk.put(Path::new(file), b"kubelet:131072:65536\n");
    }
    assert_eq!(first(&giver, 0).await, Ok(131_072));
    assert_eq!(first(&giver, 1).await, Err(UsernsError::Exhausted));
}
