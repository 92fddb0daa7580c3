//! When and how entries reach the disk.

use super::super::frame;
use super::*;

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
    let whole = frame::decode(&log);
    assert_eq!((whole.payloads.len(), whole.damage), (3, None), "the partial record was cut off first");
    assert!(torn.len() < log.len() && frame::decode(&torn).damage.is_some());
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
    assert!(files[Path::new(LOG)].len() < super::super::store::MIN_COMPACT_BYTES as usize + 8_192);
    let found = reopen(&running.disk);
    assert_eq!(found.histories[&uid(1)].containers["main"].last_exit.as_ref().unwrap().attempt, 599);
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_hangs_is_told_and_holds_nobody_up_for_ever() {
    let running = Running::start(&Arc::default());
    running.journal.record_before_effect(vec![attempt(1, 0)]).await.unwrap();
    running.disk.set_hanging(true);
    let journal = running.journal.clone();
    let mut callers = JoinSet::new();
    callers.spawn(async move { journal.record_before_effect(vec![attempt(1, 1)]).await });
    for _ in 0..12 {
        // A blocking thread is at work, so the clock moves by hand only.
        tokio::time::advance(Duration::from_secs(1)).await;
        tokio::task::yield_now().await;
    }
    let answer = callers.join_next().await.unwrap().unwrap();
    assert!(matches!(answer, Err(JournalError::Timeout)), "{answer:?}");
    running.journal.record(attempt(1, 2), Class::Soon);
    assert_eq!(running.journal.condition().borrow().as_deref(), Some("the disk gives no answer"));
    running.disk.set_hanging(false);
    let mended = running.journal.condition().wait_for(Option::is_none).await.map(|_| ());
    assert!(mended.is_ok());
    sleep(Duration::from_millis(200)).await;
    assert_eq!(reopen(&running.disk).histories, folded(&[attempt(1, 2)]));
}
