//! The journal as its users see it: on a disk in memory that fails, fills up, or stops at any call.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pinnace_cri::id::PodUid;
use proptest::prelude::*;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::history::{Class, ContainerHistory, Entry, Exit, Histories, PodHistory, Terminal, What, apply};
use super::{Journal, JournalError, Opened};
use crate::clock::{BootTime, Stamp};
use crate::disk::{Disk, Failing, MemoryDisk};

const DIR: &str = "/journal";
const LOG: &str = "/journal/log.jsonl";
const SNAPSHOT: &str = "/journal/snapshot.json";

fn uid(number: usize) -> PodUid {
    PodUid::new(&format!("uid-{number}")).unwrap()
}

fn attempt(pod: usize, attempt: u32) -> Entry {
    Entry { uid: uid(pod), what: What::SandboxAttempt(attempt) }
}

fn exited(pod: usize, attempt: u32, message: &str) -> Entry {
    let boot = BootTime { boot_id: "boot".into(), millis: 7 };
    let seen = Stamp { boot, wall: jiff::Timestamp::UNIX_EPOCH };
    let exit = Exit {
        container_id: format!("c-{pod}-{attempt}"),
        attempt,
        code: 3,
        reason: "Error".to_owned(),
        message: message.to_owned(),
        started_at: 1,
        finished_at: 2,
    };
    Entry { uid: uid(pod), what: What::Exited { name: "main".to_owned(), exit, seen } }
}

fn folded(entries: &[Entry]) -> Histories {
    let mut histories = Histories::new();
    entries.iter().for_each(|entry| apply(&mut histories, entry));
    histories
}

fn reopen(disk: &Arc<MemoryDisk>) -> Opened {
    Journal::open(Arc::clone(disk) as Arc<dyn Disk>, DIR.into())
}

/// A journal whose writer runs until the set is dropped or the token is cancelled.
struct Running {
    disk: Arc<MemoryDisk>,
    journal: Journal,
    stop: CancellationToken,
    writer: JoinSet<()>,
}

impl Running {
    fn start(disk: &Arc<MemoryDisk>) -> Self {
        let opened = reopen(disk);
        let stop = CancellationToken::new();
        let mut writer = JoinSet::new();
        writer.spawn(opened.writer.run(stop.clone()));
        Self { disk: Arc::clone(disk), journal: opened.journal, stop, writer }
    }

    async fn stop(mut self) -> Arc<MemoryDisk> {
        self.stop.cancel();
        timeout(Duration::from_secs(60), self.writer.join_next()).await.expect("the writer ends");
        self.disk
    }
}

fn from(from: u64, kind: ErrorKind, partial: usize) -> Option<Failing> {
    Some(Failing { from, kind, partial, after_rename: false })
}

#[tokio::test(start_paused = true)]
async fn what_was_waited_for_is_there_after_a_crash() {
    let running = Running::start(&Arc::default());
    let entries = vec![attempt(1, 0), exited(1, 0, "last words")];
    running.journal.record_before_effect(entries.clone()).await.unwrap();
    let found = reopen(&running.disk);
    assert_eq!((found.histories, found.reports), (folded(&entries), vec![]));
}

#[tokio::test(start_paused = true)]
async fn many_callers_share_one_sync_within_5_ms() {
    let running = Running::start(&Arc::default());
    running.journal.record_before_effect(vec![attempt(0, 0)]).await.unwrap();
    let (before, began) = (running.disk.syncs(), Instant::now());
    let calls = (0..100).map(|pod| running.journal.record_before_effect(vec![attempt(pod, 1)]));
    assert!(futures::future::join_all(calls).await.iter().all(Result::is_ok));
    assert_eq!(running.disk.syncs() - before, 1);
    assert!(began.elapsed() <= Duration::from_millis(5), "took {:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn classes_are_written_within_their_times() {
    for (class, within) in [(Class::Soon, 100), (Class::Lazy, 10_000), (Class::BeforeEffect, 5)] {
        let running = Running::start(&Arc::default());
        running.journal.record(attempt(1, 4), class);
        sleep(Duration::from_millis(within / 2)).await;
        if class != Class::BeforeEffect {
            assert!(reopen(&running.disk).histories.is_empty(), "{class:?} is not written at once");
        }
        sleep(Duration::from_millis(within / 2 + 2)).await;
        assert_eq!(reopen(&running.disk).histories, folded(&[attempt(1, 4)]), "{class:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn stopping_writes_what_is_left_and_refuses_the_rest() {
    let running = Running::start(&Arc::default());
    let journal = running.journal.clone();
    journal.record(attempt(1, 4), Class::Lazy);
    let disk = running.stop().await;
    assert_eq!(reopen(&disk).histories, folded(&[attempt(1, 4)]));
    let late = journal.record_before_effect(vec![attempt(2, 0)]).await;
    assert!(matches!(late, Err(JournalError::Closed)), "{late:?}");
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_is_told_and_nothing_is_lost_once_there_is_room() {
    let running = Running::start(&Arc::default());
    running.journal.record_before_effect(vec![attempt(1, 0)]).await.unwrap();
    running.disk.set_failing(from(0, ErrorKind::StorageFull, 20));
    let refused = running.journal.record_before_effect(vec![exited(1, 0, "words")]).await;
    assert!(matches!(refused, Err(JournalError::File { .. })), "{refused:?}");
    running.journal.record(attempt(1, 1), Class::Soon);
    let mut condition = running.journal.condition();
    let told = condition.borrow_and_update().clone().expect("a condition is set");
    assert!(told.contains("log.jsonl") && told.contains("no storage space"), "{told}");

    sleep(Duration::from_secs(100)).await;
    let torn = running.disk.files()[Path::new(LOG)].clone();
    running.disk.set_failing(None);
    let mended = timeout(Duration::from_secs(31), condition.wait_for(Option::is_none)).await;
    assert!(mended.expect("retried within 30 s").is_ok());
    let found = reopen(&running.disk);
    assert_eq!(found.histories, folded(&[attempt(1, 0), exited(1, 0, "words"), attempt(1, 1)]));
    assert_eq!(found.reports, Vec::<String>::new());
    let log = running.disk.files()[Path::new(LOG)].clone();
    let whole = super::frame::decode(&log);
    assert_eq!((whole.payloads.len(), whole.damage), (3, None), "the partial record was cut off first");
    assert!(torn.len() < log.len() && super::frame::decode(&torn).damage.is_some());
}

#[tokio::test(start_paused = true)]
async fn retries_back_off_but_a_caller_who_waits_is_answered_within_a_second() {
    let running = Running::start(&Arc::default());
    running.disk.set_failing(from(0, ErrorKind::ReadOnlyFilesystem, 0));
    running.journal.record(attempt(1, 0), Class::Soon);
    sleep(Duration::from_secs(300)).await;
    let tries = running.disk.changes();
    assert!((5..=16).contains(&tries), "1, 2, 4, 8, 16, 30, 30 … seconds apart: {tries} tries in 300 s");
    running.disk.set_failing(None);
    let began = Instant::now();
    running.journal.record_before_effect(vec![attempt(1, 1)]).await.unwrap();
    assert!(began.elapsed() <= Duration::from_millis(1_005), "took {:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn memory_is_bounded_while_the_disk_fails_and_nothing_is_lost() {
    let running = Running::start(&Arc::default());
    running.disk.set_failing(from(0, ErrorKind::StorageFull, 5));
    for number in 0..10_000 {
        running.journal.record(attempt(number % 7, u32::try_from(number).unwrap()), Class::Soon);
    }
    sleep(Duration::from_secs(5)).await;
    running.disk.set_failing(None);
    running.journal.record_before_effect(vec![attempt(8, 1)]).await.unwrap();
    let found = reopen(&running.disk).histories;
    assert_eq!(found.len(), 8);
    assert_eq!(found[&uid(0)].sandbox_attempt, Some(9_996));
    assert!(running.disk.files()[Path::new(SNAPSHOT)].len() < 10_000);
}

#[tokio::test(start_paused = true)]
async fn a_long_log_is_compacted() {
    let running = Running::start(&Arc::default());
    let words = "x".repeat(4_096);
    for number in 0..600 {
        running.journal.record_before_effect(vec![exited(1, number, &words)]).await.unwrap();
    }
    sleep(Duration::from_millis(10)).await;
    let files = running.disk.files();
    assert!(files[Path::new(LOG)].len() < (1 << 20) + 8_192);
    let found = reopen(&running.disk);
    assert_eq!(found.histories[&uid(1)].containers["main"].last_exit.as_ref().unwrap().attempt, 599);
}

fn exit_of(histories: &Histories, pod: usize) -> Option<u32> {
    Some(histories.get(&uid(pod))?.containers.get("main")?.last_exit.as_ref()?.attempt)
}

/// One run that appends, forgets and compacts; returns what was acknowledged before the disk died.
async fn run_until_the_disk_dies(disk: &Arc<MemoryDisk>) -> Vec<Entry> {
    let running = Running::start(disk);
    let words = "x".repeat(150_000);
    let mut acknowledged = Vec::new();
    for number in 0..8 {
        let entries = vec![attempt(number as usize % 3, number), exited(number as usize % 3, number, &words)];
        if running.journal.record_before_effect(entries.clone()).await.is_err() {
            break;
        }
        acknowledged.extend(entries);
        sleep(Duration::from_millis(1)).await;
    }
    acknowledged
}

#[tokio::test(start_paused = true)]
async fn b83_power_cut_at_every_write_loses_nothing_that_was_acknowledged() {
    let whole: Arc<MemoryDisk> = Arc::default();
    let everything = run_until_the_disk_dies(&whole).await;
    assert_eq!(everything.len(), 16);
    assert!(whole.changes() >= 13, "the run also compacts: {} calls", whole.changes());
    for last in 0..whole.changes() {
        for (partial, after_rename) in [(0, false), (40, false), (400_000, false), (0, true)] {
            let disk: Arc<MemoryDisk> = Arc::default();
            disk.set_failing(Some(Failing { from: last, kind: ErrorKind::Other, partial, after_rename }));
            let acknowledged = run_until_the_disk_dies(&disk).await;
            disk.set_failing(None);
            let (found, wanted) = (reopen(&disk), folded(&acknowledged));
            for (pod, history) in &wanted {
                let seen = found.histories.get(pod).map_or(&None, |seen| &seen.sandbox_attempt);
                assert!(*seen >= history.sandbox_attempt, "cut at call {last}: {pod} lost its attempt");
            }
            for pod in 0..3 {
                assert!(exit_of(&found.histories, pod) >= exit_of(&wanted, pod), "cut at call {last}");
            }
            assert_eq!(found.reports, Vec::<String>::new(), "a crash is no damage");
        }
    }
}

/// A snapshot of two pods and a log that continues it.
async fn two_files() -> (Arc<MemoryDisk>, Histories) {
    let disk: Arc<MemoryDisk> = Arc::default();
    for entries in [[attempt(1, 0), exited(1, 0, "a")], [attempt(2, 5), attempt(1, 1)]] {
        let running = Running::start(&disk);
        running.journal.record_before_effect(entries.to_vec()).await.unwrap();
        running.stop().await;
    }
    let histories = reopen(&disk).histories;
    assert_eq!(histories.len(), 2);
    (disk, histories)
}

fn copy_with(disk: &MemoryDisk, path: &str, bytes: &[u8]) -> Arc<MemoryDisk> {
    let copy = MemoryDisk::default();
    disk.files().iter().for_each(|(path, bytes)| copy.put(path, bytes));
    copy.put(Path::new(path), bytes);
    Arc::new(copy)
}

#[tokio::test(start_paused = true)]
async fn b83_torn_journal_at_every_byte_starts_and_goes_on() {
    let (disk, _) = two_files().await;
    for path in [LOG, SNAPSHOT] {
        let whole = disk.files()[Path::new(path)].clone();
        for cut in 0..=whole.len() {
            let torn = copy_with(&disk, path, &whole[..cut]);
            let running = Running::start(&torn);
            running.journal.record_before_effect(vec![attempt(9, 9)]).await.unwrap();
            let known = running.journal.histories();
            let again = reopen(&running.disk);
            assert_eq!(again.histories, known, "{path} cut at byte {cut}");
            assert_eq!(
                again.reports,
                Vec::<String>::new(),
                "{path} cut at byte {cut}: mended by the first run"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a77_flip_at_every_byte_starts_reports_and_keeps_the_file_aside() {
    let (disk, histories) = two_files().await;
    for path in [LOG, SNAPSHOT] {
        let whole = disk.files()[Path::new(path)].clone();
        for position in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[position] ^= 0x04;
            let damaged = copy_with(&disk, path, &bytes);
            let found = reopen(&damaged);
            for (uid, history) in &found.histories {
                let before = histories.get(uid).expect("no pod is made up");
                assert!(history.sandbox_attempt <= before.sandbox_attempt);
            }
            let torn_tail = path == LOG && position + 1 == whole.len();
            assert_eq!(found.reports.is_empty(), torn_tail, "{path} byte {position}: {:?}", found.reports);
            let aside =
                damaged.list(Path::new(DIR)).unwrap().iter().any(|p| p.to_string_lossy().contains(".bad-1"));
            assert_eq!(aside, !torn_tail, "{path} byte {position}");
            assert!(reopen(&damaged).reports.is_empty(), "{path} byte {position}: mended");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_bad_record_of_a_snapshot_costs_one_pod() {
    let disk: Arc<MemoryDisk> = Arc::default();
    let running = Running::start(&disk);
    running.journal.record_before_effect((0..5).map(|pod| attempt(pod, 1)).collect()).await.unwrap();
    let mut bytes = disk.files()[Path::new(SNAPSHOT)].clone();
    let line_of_third = String::from_utf8(bytes.clone()).unwrap().find("uid-2").unwrap();
    bytes[line_of_third] ^= 1;
    let found = reopen(&copy_with(&disk, SNAPSHOT, &bytes));
    let left: Vec<PodUid> = found.histories.into_keys().collect();
    assert_eq!(left, [uid(0), uid(1), uid(3), uid(4)]);
}

#[tokio::test(start_paused = true)]
async fn a_log_older_than_its_snapshot_is_not_replayed() {
    let disk: Arc<MemoryDisk> = Arc::default();
    let old = |epoch| {
        let mut log = super::record::log_header(epoch).unwrap();
        log.extend(super::record::entries(&[attempt(1, 1)]).unwrap());
        log
    };
    disk.put(Path::new(SNAPSHOT), &super::record::snapshot(5, &Histories::new()).unwrap());
    disk.put(Path::new(LOG), &old(4));
    assert_eq!(reopen(&disk).histories, Histories::new());
    disk.put(Path::new(LOG), &old(5));
    assert_eq!(reopen(&disk).histories, folded(&[attempt(1, 1)]));
}

#[tokio::test(start_paused = true)]
async fn kinds_of_a_newer_version_are_skipped_with_a_report_and_kept_aside() {
    let disk: Arc<MemoryDisk> = Arc::default();
    let mut log = Vec::new();
    super::frame::encode(br#"{"log":2,"epoch":1,"more":true}"#, &mut log);
    super::frame::encode(br#"{"uid":"uid-1","what":{"Evicted":{"why":"disk"}}}"#, &mut log);
    log.extend(super::record::entries(&[attempt(1, 1)]).unwrap());
    disk.put(Path::new(LOG), &log);
    let found = reopen(&disk);
    assert_eq!(found.histories, folded(&[attempt(1, 1)]));
    assert!(found.reports.iter().any(|report| report.contains("Evicted")), "{:?}", found.reports);
    assert_eq!(disk.files()[Path::new("/journal/log.bad-1")], log);
}

#[test]
fn quarantined_files_are_bounded() {
    let disk: Arc<MemoryDisk> = Arc::default();
    for _ in 0..30 {
        disk.put(Path::new(LOG), b"this is no journal\n");
        assert!(!reopen(&disk).reports.is_empty());
    }
    let kept: Vec<PathBuf> =
        disk.files().into_keys().filter(|path| path.to_string_lossy().contains(".bad-")).collect();
    assert_eq!(kept.len(), 8);
    assert!(kept.contains(&"/journal/log.bad-30".into()), "{kept:?}");
}

#[test]
fn a_start_without_a_disk_goes_on_without_a_journal() {
    let disk: Arc<MemoryDisk> = Arc::default();
    disk.put(Path::new(LOG), b"this is no journal\n");
    disk.set_failing(from(0, ErrorKind::ReadOnlyFilesystem, 0));
    let found = reopen(&disk);
    assert!(found.histories.is_empty() && !found.reports.is_empty());
}

fn history() -> impl Strategy<Value = PodHistory> {
    let container = (proptest::option::of(0..9_u32), ".*").prop_map(|(attempt, image)| ContainerHistory {
        attempt,
        image: Some(image),
        ..ContainerHistory::default()
    });
    let terminal = (any::<bool>(), ".*").prop_map(|(succeeded, message)| Terminal {
        succeeded,
        reason: String::new(),
        message,
    });
    let containers = proptest::collection::btree_map("[a-z]{1,3}", container, 0..3);
    (containers, proptest::option::of(terminal)).prop_map(|(containers, terminal)| PodHistory {
        containers,
        terminal,
        ..PodHistory::default()
    })
}

proptest! {
    #[test]
    fn a_snapshot_reads_back_as_it_was(pods in proptest::collection::vec(history(), 0..4), epoch: u64) {
        let histories: Histories = pods.into_iter().enumerate().map(|(n, history)| (uid(n), history)).collect();
        let read = super::record::read_snapshot(&super::record::snapshot(epoch, &histories).unwrap());
        prop_assert_eq!((read.epoch, read.lost, read.skipped.count), (Some(epoch), 0, 0));
        prop_assert_eq!(read.histories, histories);
    }
}
