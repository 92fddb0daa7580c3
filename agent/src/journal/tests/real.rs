//! The same on a real disk, and on one that is really full.

use std::io::Write;

use nix::mount::{MsFlags, mount, umount};

use super::*;
use crate::disk::RealDisk;

fn open_real(dir: &Path) -> Opened {
    Journal::open(Arc::new(RealDisk), dir.join("pinnace/journal"))
}

/// Runs a writer for as long as `use_it` takes, then stops it.
async fn with_writer<T>(dir: &Path, use_it: impl AsyncFnOnce(&Journal) -> T) -> T {
    let opened = open_real(dir);
    let stop = CancellationToken::new();
    let mut writer = JoinSet::new();
    writer.spawn(opened.writer.run(stop.clone()));
    let result = use_it(&opened.journal).await;
    stop.cancel();
    timeout(Duration::from_secs(60), writer.join_next()).await.expect("the writer ends");
    result
}

#[tokio::test]
async fn a_real_disk_gives_back_what_it_was_given() {
    let root = tempfile::tempdir().unwrap();
    let entries = vec![attempt(1, 0), exited(1, 0, "words"), attempt(1, 1)];
    for entry in &entries {
        with_writer(root.path(), async |journal| journal.record_before_effect(vec![entry.clone()]).await)
            .await
            .unwrap();
    }
    let found = open_real(root.path());
    assert_eq!((found.histories, found.reports), (folded(&entries), vec![]));
}

/// A small file system of its own, gone when dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let root = tempfile::tempdir().unwrap();
        match mount(None::<&str>, root.path(), Some("tmpfs"), MsFlags::empty(), Some("size=256k")) {
            Ok(()) => Some(Self(root)),
            Err(error) => {
                println!("SKIPPED: needs root and the right to mount: {error}");
                None
            }
        }
    }

    fn fill(&self) {
        let mut ballast = std::fs::File::create(self.0.path().join("ballast")).unwrap();
        while ballast.write_all(&[0; 512]).is_ok() {}
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        umount(self.0.path()).unwrap();
    }
}

#[tokio::test]
async fn a_full_file_system_is_told_and_mended_once_there_is_room() {
    let Some(disk) = SmallDisk::mount() else { return };
    let root = disk.0.path();
    let words = exited(1, 0, &"x".repeat(20_000));
    with_writer(root, async |journal| {
        journal.record_before_effect(vec![attempt(1, 0)]).await.unwrap();
        disk.fill();
        let refused = journal.record_before_effect(vec![words.clone()]).await.unwrap_err();
        let JournalError::File { path, source, .. } = &refused else { panic!("{refused}") };
        assert_eq!((path, source.kind()), (&root.join("pinnace/journal/log.jsonl"), ErrorKind::StorageFull));
        assert!(journal.condition().borrow().as_ref().is_some_and(|told| told.contains("log.jsonl")));
        std::fs::remove_file(root.join("ballast")).unwrap();
        journal.record_before_effect(vec![attempt(1, 1)]).await.unwrap();
        assert_eq!(*journal.condition().borrow(), None);
    })
    .await;
    let found = open_real(root);
    assert_eq!((found.histories, found.reports), (folded(&[attempt(1, 0), words, attempt(1, 1)]), vec![]));
}

#[test]
fn a_start_on_a_full_file_system_goes_on() {
    let Some(disk) = SmallDisk::mount() else { return };
    disk.fill();
    let found = open_real(disk.0.path());
    assert!(found.histories.is_empty() && found.reports.is_empty());
}
