//! Crashes, failing disks and damaged files: what was acknowledged is never lost, and every start succeeds.

use super::super::{frame, record};
use super::*;

fn exit_of(histories: &Histories, pod: usize) -> Option<u32> {
    Some(histories.get(&uid(pod))?.containers.get("main")?.last_exit.as_ref()?.attempt)
}

/// One run that appends, forgets and compacts; returns what was acknowledged before the disk died.
async fn run_until_the_disk_dies(disk: &Arc<MemoryDisk>) -> Vec<Entry> {
    let running = Running::start(disk);
    let words = "x".repeat(2_400);
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
            disk.set_failing(Some(Failing {
                from: last,
                calls: u64::MAX,
                kind: ErrorKind::Other,
                partial,
                after_rename,
            }));
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

/// A disk that fails for a moment at any call: entries that were refused are kept and written later, so at the end
/// everything is there.
#[tokio::test(start_paused = true)]
async fn b83_a_write_that_fails_for_a_moment_loses_nothing() {
    let words = "x".repeat(2_400);
    for at in 0..16 {
        for (calls, partial, after_rename) in
            [(1, 0, false), (2, 40, false), (1, 400_000, false), (1, 0, true)]
        {
            let disk: Arc<MemoryDisk> = Arc::default();
            disk.set_failing(Some(Failing {
                from: at,
                calls,
                kind: ErrorKind::Other,
                partial,
                after_rename,
            }));
            let running = Running::start(&disk);
            let mut all = Vec::new();
            for number in 0..8 {
                let entries = vec![attempt(number as usize % 3, number), exited(0, number, &words)];
                let _refused = running.journal.record_before_effect(entries.clone()).await;
                all.extend(entries);
            }
            sleep(Duration::from_secs(10)).await;
            let found = reopen(&running.disk);
            assert!(
                found.histories == folded(&all),
                "failing at call {at} for {calls}, {partial}, {after_rename}"
            );
            assert_eq!(found.reports, Vec::<String>::new());
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
        let mut log = record::log_header(epoch).unwrap();
        log.extend(record::entries(&[attempt(1, 1)]).unwrap());
        log
    };
    disk.put(Path::new(SNAPSHOT), &record::snapshot(5, &Histories::new()).unwrap());
    disk.put(Path::new(LOG), &old(4));
    assert_eq!(reopen(&disk).histories, Histories::new());
    disk.put(Path::new(LOG), &old(5));
    assert_eq!(reopen(&disk).histories, folded(&[attempt(1, 1)]));
}

#[tokio::test(start_paused = true)]
async fn kinds_of_a_newer_version_are_skipped_with_a_report_and_kept_aside() {
    let disk: Arc<MemoryDisk> = Arc::default();
    let mut log = Vec::new();
    frame::encode(br#"{"log":2,"epoch":1,"more":true}"#, &mut log);
    frame::encode(br#"{"uid":"uid-1","what":{"Evicted":{"why":"disk"}}}"#, &mut log);
    log.extend(record::entries(&[attempt(1, 1)]).unwrap());
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
        let read = record::read_snapshot(&record::snapshot(epoch, &histories).unwrap());
        prop_assert_eq!((read.epoch, read.lost, read.skipped.count), (Some(epoch), 0, 0));
        prop_assert_eq!(read.histories, histories);
    }
}
