//! Creates whose end is in doubt: what proves an absence, and how long a refused name is left alone.

use jiff::Timestamp;

use super::*;
use crate::clock::BootTime;

const CREATE: Step = Step::RunSandbox { attempt: 0 };

fn at(seconds: u64) -> Now {
    let boot = BootTime { boot_id: "b".into(), millis: seconds * 1_000 };
    Now { boot, wall: Timestamp::from_second(1_000_000 + i64::try_from(seconds).unwrap()).unwrap() }
}

fn refused() -> Failure {
    let message = "name \"x\" is reserved for \"1f\"".to_owned();
    Failure { in_doubt: true, reserved: true, ..Failure::plain("FailedCreatePodSandBox", message) }
}

fn unanswered() -> Failure {
    Failure { in_doubt: true, ..Failure::plain("FailedCreatePodSandBox", "no answer within 240s".to_owned()) }
}

/// The delays after each of these ends of the same create.
fn delays(ends: &[Failure]) -> Vec<u64> {
    let mut mind = Mind::default();
    let after = |failure: &Failure| {
        mind.settle(&CREATE, &Err(failure.clone()), 1, &Pace::default(), &at(0));
        mind.retries(&at(0))[&Key::Sandbox].left.as_secs()
    };
    ends.iter().map(after).collect()
}

#[test]
fn beyond16_a_reserved_name_is_tried_once_more_and_then_left_alone_for_minutes() {
    assert_eq!(delays(&[refused(), refused(), refused()]), [10, 240, 240]);
    // The try that tells a slow create from a dropped one comes soon.
    assert_eq!(delays(&[unanswered(), refused(), refused()]), [1, 10, 240]);
    // Another kind of end says that it is no longer under way.
    assert_eq!(delays(&[refused(), unanswered(), refused()]), [10, 2, 10]);
    assert_eq!(delays(&[unanswered(), unanswered(), unanswered()]), [1, 2, 4]);
}

#[test]
fn an_absence_is_proven_by_two_looks_begun_after_the_end_and_not_by_time() {
    let pod = crate::source::example::pod("Always", &["a"]);
    let mut mind = Mind::default();
    mind.observe(1);
    mind.remember(&What::SandboxAttempt(0));
    mind.settle(&CREATE, &Err(unanswered()), 5, &Pace::default(), &at(0));
    let now = at(3_600);
    let planned = |mind: &Mind| {
        let around = Around {
            wish: &Wish::Run,
            pod: Some(&pod),
            seen: None,
            alone: true,
            network_ready: true,
            backoff_cap: Duration::from_secs(300),
            now: &now,
        };
        mind.plan(around).steps.contains(&CREATE)
    };
    assert!(mind.wants_looks() && !planned(&mind), "tried again without a look");
    // The look that began before the end shows nothing of it.
    for (freshness, proven) in [(5, false), (6, false), (6, false), (7, true)] {
        mind.observe(freshness);
        assert_eq!(planned(&mind), proven, "after a look of {freshness}");
    }
    assert!(!mind.wants_looks());
}

#[test]
fn a_word_on_an_object_brings_the_next_try_forward_and_none_is_lost() {
    let wanting = || Failure::of_objects("ContainerCreating", "configmap \"x\" not found".to_owned());
    let fail = |mind: &mut Mind, failure: Failure| {
        mind.settle(&Step::SetUpVolumes, &Err(failure), 1, &Pace::default(), &at(0));
    };
    let left = |mind: &Mind, now: u64| mind.retries(&at(now))[&Key::Volumes].left;
    let (soon, long) = (AFTER_WORD, Duration::from_secs(5));
    let mut mind = Mind::default();
    (0..9).for_each(|_| fail(&mut mind, wanting()));
    mind.hear(0);
    assert!(left(&mind, 0) > long, "no word, no try");
    mind.hear(1);
    assert_eq!(left(&mind, 0), soon);
    assert_eq!(left(&mind, 1), Duration::ZERO);
    // A try that fails again waits as long as ever: the word was used.
    mind.hear(1);
    fail(&mut mind, wanting());
    assert!(left(&mind, 0) > long);
    // It came while a try was under way, which may have read before it.
    mind.begin(&Step::SetUpVolumes);
    mind.hear(2);
    fail(&mut mind, wanting());
    assert_eq!(left(&mind, 0), soon);
    mind.begin(&Step::SetUpVolumes);
    fail(&mut mind, wanting());
    assert!(left(&mind, 0) > long);
    // What failed for another reason is not concerned.
    fail(&mut mind, refused());
    let before = left(&mind, 0);
    mind.hear(3);
    assert_eq!(left(&mind, 0), before);
}
