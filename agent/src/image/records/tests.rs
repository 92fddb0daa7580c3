//! A45 and A46 on a disk in memory: who may use an image, and what a death at any write leaves.

use std::io::ErrorKind;

use pinnace_cri::id::ImageId;
use proptest::prelude::*;

use super::*;
use crate::disk::{Failing, MemoryDisk};
use crate::image::keyring::{Credential, Login, ObjectName, Source};

const IMAGE: &str = "reg.x/private:1";
const ID: &str = "sha256:0aff";

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

fn records(disk: &Arc<MemoryDisk>, policy: Policy) -> Records {
    Records::new(Arc::clone(disk) as Arc<dyn Disk>, Path::new("/r"), policy)
}

/// A process that starts on what another left; the runtime has these images.
async fn restarted(disk: &Arc<MemoryDisk>, images: Vec<Image>) -> Records {
    let records = records(disk, Policy::Pulled);
    assert!(records.wants_recovery().await);
    records.recover(images, now()).await;
    records
}

fn credential(secret: &str, uid: &str, password: &str) -> Credential {
    let login = Login { username: "u".into(), password: password.into(), email: String::new() };
    let source = ObjectName { uid: uid.into(), namespace: "ns".into(), name: secret.into() };
    Credential::new(login, Some(Source::Secret(source)))
}

fn image() -> Image {
    Image {
        id: ImageId::new(ID).unwrap(),
        repo_tags: vec![IMAGE.to_owned()],
        repo_digests: Vec::new(),
        size: 1,
        uid: None,
        username: None,
        pinned: false,
    }
}

async fn admits(records: &Records, credentials: &[Credential]) -> bool {
    match records.judge(IMAGE, ID).await {
        Verdict::Use => true,
        Verdict::Verify => false,
        Verdict::Compare(known) => records.admits(&known, credentials, IMAGE, ID, now()).await,
    }
}

async fn pull(records: &Records, credential: Option<&Credential>) {
    let intent = records.intend(IMAGE).await.unwrap();
    records.pulled(intent, ID, credential, now()).await;
}

#[tokio::test]
async fn a45_an_image_is_for_who_has_a_secret_that_was_good_for_it() {
    let disk = Arc::new(MemoryDisk::default());
    let records = restarted(&disk, Vec::new()).await;
    pull(&records, Some(&credential("a", "1", "good"))).await;
    assert!(!admits(&records, &[]).await, "no secret");
    assert!(!admits(&records, &[credential("b", "2", "wrong")]).await, "a wrong secret");
    assert!(admits(&records, &[credential("a", "1", "good")]).await, "the same secret");
    assert!(admits(&records, &[credential("c", "3", "good")]).await, "the same login in another secret");
    // The other secret was remembered, so that it counts when its login changes.
    assert!(admits(&records, &[credential("c", "3", "rotated")]).await);
    assert!(!admits(&records, &[credential("a", "9", "else")]).await, "a new secret of an old name");
    pull(&records, None).await;
    assert!(admits(&records, &[]).await, "a pull without credentials is for everyone");
}

#[tokio::test]
async fn a45_what_was_there_before_is_for_everyone_unless_the_policy_says_otherwise() {
    let disk = Arc::new(MemoryDisk::default());
    for (policy, admitted) in
        [(Policy::Off, true), (Policy::Never, true), (Policy::Pulled, true), (Policy::Always, false)]
    {
        let records = records(&disk, policy.clone());
        records.recover(Vec::new(), now()).await;
        assert_eq!(admits(&records, &[]).await, admitted, "{policy:?}");
    }
    assert!(disk.files().is_empty());
}

#[tokio::test]
async fn a45_at_most_a_hundred_secrets_are_learned() {
    let disk = Arc::new(MemoryDisk::default());
    let records = restarted(&disk, Vec::new()).await;
    pull(&records, Some(&credential("a", "1", "good"))).await;
    for number in 0..150 {
        assert!(admits(&records, &[credential("other", &number.to_string(), "good")]).await);
    }
    let Verdict::Compare(known) = records.judge(IMAGE, ID).await else { panic!("no record") };
    assert_eq!(known.secrets.len(), 100);
}

/// Dies after so many writes of a pull, the last of them failing in this way; then another process looks.
async fn dies_at(from: u64, after_rename: bool, is_there: bool) -> (Records, bool) {
    let disk = Arc::new(MemoryDisk::default());
    let records = restarted(&disk, Vec::new()).await;
    let failing = Failing { from, calls: u64::MAX, kind: ErrorKind::StorageFull, partial: 0, after_rename };
    disk.set_failing(Some(failing));
    let begun = match records.intend(IMAGE).await {
        Ok(intent) => {
            records.pulled(intent, ID, Some(&credential("a", "1", "good")), now()).await;
            true
        }
        Err(_) => false,
    };
    disk.set_failing(None);
    drop(records);
    (restarted(&disk, if is_there { vec![image()] } else { Vec::new() }).await, begun)
}

#[tokio::test]
async fn a46_a_full_disk_or_a_death_at_any_write_never_makes_an_image_look_preloaded() {
    for from in 0..8 {
        for after_rename in [false, true] {
            let (records, begun) = dies_at(from, after_rename, true).await;
            if begun {
                assert!(!admits(&records, &[]).await, "write {from}, {after_rename}: no secret was let in");
                let wrong = [credential("b", "2", "wrong")];
                assert!(!admits(&records, &wrong).await, "write {from}, {after_rename}: a wrong one was");
            } else {
                // The pull was refused before it began: that the image is there is somebody else's doing.
                assert!(from <= 1, "write {from}");
            }
        }
    }
}

#[tokio::test]
async fn a46_a_death_between_intent_and_record_asks_again_whatever_name_the_image_has_then() {
    let disk = Arc::new(MemoryDisk::default());
    let records = restarted(&disk, Vec::new()).await;
    let intent = records.intend(IMAGE).await.unwrap();
    assert_eq!(records.judge(IMAGE, ID).await, Verdict::Verify, "while the pull is under way");
    // Killed: nothing is dropped in order.
    std::mem::forget(intent);
    let records = restarted(&disk, vec![image()]).await;
    assert_eq!(records.judge(IMAGE, ID).await, Verdict::Verify);
    assert_eq!(records.judge("reg.x/other:2", ID).await, Verdict::Verify, "the same image by another name");
    assert!(disk.files().keys().all(|path| !path.starts_with("/r/image_manager/pulling")));
}

#[tokio::test]
async fn a46_before_recovery_every_image_without_a_record_is_verified() {
    let disk = Arc::new(MemoryDisk::default());
    let records = records(&disk, Policy::Pulled);
    assert_eq!(records.judge(IMAGE, ID).await, Verdict::Verify);
    records.recover(Vec::new(), now()).await;
    assert_eq!(records.judge(IMAGE, ID).await, Verdict::Use);
}

#[tokio::test]
async fn a46_a_corrupt_record_is_verified_and_written_anew() {
    let disk = Arc::new(MemoryDisk::default());
    let records = restarted(&disk, Vec::new()).await;
    pull(&records, None).await;
    let path = disk.files().into_keys().next().unwrap();
    for bytes in [&b""[..], b"{}", b"\0\0\0", b"{\"kind\":\"ImagePulledRecord\"}"] {
        disk.put(&path, bytes);
        assert_eq!(records.judge(IMAGE, ID).await, Verdict::Verify, "{bytes:?}");
    }
    pull(&records, Some(&credential("a", "1", "good"))).await;
    assert!(admits(&records, &[credential("a", "1", "good")]).await);
    assert!(!admits(&records, &[]).await);
}

#[tokio::test]
async fn an_intent_stays_as_long_as_one_pull_of_its_image_is_under_way() {
    let disk = Arc::new(MemoryDisk::default());
    let records = restarted(&disk, Vec::new()).await;
    let (one, two) = (records.intend(IMAGE).await.unwrap(), records.intend(IMAGE).await.unwrap());
    records.failed(one).await;
    assert_eq!(disk.files().len(), 1);
    records.failed(two).await;
    assert!(disk.files().is_empty());
}

/// Two looks at what the runtime has.
async fn looks(records: &Records, images: &[Image]) {
    for _ in 0..2 {
        records.begin_look();
        records.prune(images.to_vec()).await;
    }
}

#[tokio::test]
async fn a46_a_record_goes_with_its_image_and_never_before() {
    let disk = Arc::new(MemoryDisk::default());
    let records = restarted(&disk, Vec::new()).await;
    let own = credential("a", "1", "good");
    pull(&records, Some(&own)).await;
    let path = disk.files().into_keys().next().unwrap();
    disk.put(&path.with_file_name("notes"), b"somebody else's");
    looks(&records, &[image()]).await;
    records.begin_look();
    records.prune(Vec::new()).await;
    assert!(!admits(&records, &[]).await && admits(&records, std::slice::from_ref(&own)).await);
    // The same image again, of which the record has nothing new to tell.
    pull(&records, Some(&own)).await;
    records.prune(Vec::new()).await;
    assert!(!admits(&records, &[]).await, "a record went although its image had come again");
    looks(&records, &[]).await;
    assert!(!disk.files().contains_key(&path));
    assert_eq!(disk.files().len(), 1, "what is not ours stays");
    // One that nobody can read, too: its name says whose it is.
    disk.put(&path, b"torn");
    looks(&records, &[image()]).await;
    assert_eq!(records.judge(IMAGE, ID).await, Verdict::Verify);
    looks(&records, &[]).await;
    assert_eq!(disk.files().len(), 1);
}

proptest! {
    #[test]
    fn merging_is_remembered_and_merging_twice_changes_nothing(
        steps in prop::collection::vec((0..3_usize, 0..3_usize, any::<bool>()), 1..8),
    ) {
        let mut record = None;
        for (name, password, everyone) in steps {
            let credential = credential(&format!("s{name}"), "u", &format!("p{password}"));
            let access = Access::of(Some(&credential).filter(|_| !everyone));
            let next = verify::merged(record.clone(), ID, "b", Some(&access));
            let next = next.or(record).unwrap();
            prop_assert_eq!(verify::merged(Some(next.clone()), ID, "b", Some(&access)), None);
            let first = verify::first(&Policy::Pulled, "b", Some(&next), false);
            match first {
                First::Use => {}
                First::Compare(known) => prop_assert_eq!(verify::compare(&known, &[credential]), Match::Known),
                First::Verify => prop_assert!(false, "forgotten"),
            }
            record = Some(next);
        }
    }
}
