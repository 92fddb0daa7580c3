//! The correlator against a model of the API server.

use std::collections::BTreeMap;

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;

const RATES: Rates = Rates { qps: 50.0, burst: 100.0 };

fn event(object: &str, kind: Kind, reason: &str, message: &str, now: u64) -> Occurrence {
    Occurrence {
        object: Object::from(object),
        kind,
        reason: reason.into(),
        message: message.into(),
        at: Timestamp::from_millisecond(1_700_000_000_000 + i64::try_from(now).unwrap()).unwrap(),
    }
}

/// The API server: events by name.
#[derive(Debug, Default)]
struct Server {
    events: BTreeMap<(String, u64), (u32, String, String)>,
    writes: Vec<(u64, Verb, String, u32)>,
}

impl Server {
    fn take(&mut self, write: &Write, now: u64) -> Outcome {
        let record = &write.record;
        let name = (record.object.to_string(), record.number);
        let body = (record.count, record.reason.clone(), record.message.clone());
        match (write.verb, self.events.contains_key(&name)) {
            (Verb::Create, true) => return Outcome::Exists,
            (Verb::Patch, false) => return Outcome::Gone,
            _ => {}
        }
        self.writes.push((now, write.verb, record.reason.clone(), record.count));
        self.events.insert(name, body);
        Outcome::Written
    }

    fn count(&self, object: &str, reason: &str) -> u32 {
        let of = self.events.iter().filter(|((known, _), (_, why, _))| known == object && why == reason);
        of.map(|(_, (count, _, _))| count).sum()
    }
}

/// Writes what is due at `now`, all of which works.
fn flush(correlator: &mut Correlator, server: &mut Server, now: u64) -> Option<Duration> {
    loop {
        match correlator.next(now) {
            Next::Write(write) => {
                let outcome = server.take(&write, now);
                correlator.done(&write, outcome, now);
            }
            Next::Wait(pause) => return pause,
        }
    }
}

#[test]
fn beyond14_a_repeating_warning_costs_a_write_a_minute_and_its_count_is_exact() {
    let (mut correlator, mut server) = (Correlator::new(RATES, 1), Server::default());
    for second in 0..600 {
        let now = second * 1_000;
        correlator.observe(event("ns/web", Kind::Warning, "FailedSync", "no network", now), now);
        flush(&mut correlator, &mut server, now);
    }
    flush(&mut correlator, &mut server, 660_000);
    assert_eq!(server.count("ns/web", "FailedSync"), 600);
    assert_eq!(server.events.len(), 1);
    assert!(server.writes.len() <= 12, "{} writes in 11 minutes", server.writes.len());
    assert!(server.writes.windows(2).all(|pair| pair[1].0 - pair[0].0 >= REPEAT_EVERY));
}

#[test]
fn beyond14_after_ten_minutes_of_never_pull_started_is_seen() {
    let (mut correlator, mut server) = (Correlator::new(RATES, 1), Server::default());
    let mut now = 0;
    while now < 600_000 {
        for (reason, message) in
            [("ErrImageNeverPull", "not present"), ("Failed", "Error: ErrImageNeverPull")]
        {
            correlator.observe(event("ns/web", Kind::Warning, reason, message, now), now);
        }
        flush(&mut correlator, &mut server, now);
        now += 2_000;
    }
    for (reason, message) in
        [("Pulled", "present"), ("Created", "Container created"), ("Started", "Container started")]
    {
        correlator.observe(event("ns/web", Kind::Normal, reason, message, now), now);
    }
    flush(&mut correlator, &mut server, now);
    let at_once: Vec<_> =
        server.writes.iter().filter(|write| write.0 == now).map(|write| write.2.as_str()).collect();
    assert_eq!(at_once[..3], ["Pulled", "Created", "Started"]);
    // A container with many names more is no spam either: a burst per object would have been used up long ago.
    flush(&mut correlator, &mut server, now + 60_000);
    assert_eq!(server.count("ns/web", "ErrImageNeverPull"), 300);
}

#[test]
fn beyond14_churn_costs_at_most_a_quarter_of_the_status_writes() {
    // A pod that comes and goes costs at least four status writes: ready, not ready, ended, final; and six events.
    let (mut correlator, mut server) = (Correlator::new(RATES, 1), Server::default());
    let seconds = 300;
    let (pods, status_writes) = (20 * seconds, 20 * seconds * 4);
    for pod in 0..pods {
        let now = pod * 50;
        let object = format!("ns/p{pod}");
        for reason in ["Pulling", "Pulled", "Created", "Started"] {
            correlator.observe(event(&object, Kind::Normal, reason, "m", now), now);
        }
        let gone = format!("ns/p{}", pod.saturating_sub(200));
        correlator.observe(event(&gone, Kind::Normal, "Killing", "m", now), now);
        if pod % 10 == 0 {
            correlator.observe(event(&object, Kind::Warning, "FailedMount", "m", now), now);
        }
        flush(&mut correlator, &mut server, now);
    }
    let writes = u64::try_from(server.writes.len()).unwrap();
    assert!(writes * 4 <= status_writes, "{writes} event writes beside {status_writes} status writes");
    let warned = server.writes.iter().filter(|write| write.2 == "FailedMount").count();
    assert_eq!(u64::try_from(warned).unwrap(), pods / 10, "a new warning was lost or is late");
    assert_eq!(correlator.tally().lost_warnings, 0);
    assert!(correlator.tally().shed > 0);
}

#[test]
fn a_full_node_that_starts_is_told_in_full_and_in_order() {
    let (mut correlator, mut server) = (Correlator::new(RATES, 1), Server::default());
    for pod in 0..110 {
        for reason in ["Pulled", "Created", "Started"] {
            correlator.observe(event(&format!("ns/p{pod}"), Kind::Normal, reason, "m", 0), 0);
        }
    }
    let mut now = 0;
    while let Some(pause) = flush(&mut correlator, &mut server, now) {
        now += u64::try_from(pause.as_millis()).unwrap();
    }
    assert!(now <= 8_000, "took {now} ms");
    assert_eq!((correlator.tally().written, correlator.tally().pending), (330, 0));
    let started = server.writes.iter().filter(|write| write.2 == "Started").count();
    assert_eq!(started, 110);
    let order: Vec<_> = server
        .events
        .iter()
        .filter(|((pod, _), _)| pod == "ns/p7")
        .map(|(_, body)| body.1.as_str())
        .collect();
    assert_eq!(order, ["Pulled", "Created", "Started"], "names sort as events happened");
}

#[test]
fn b60_an_outage_keeps_new_warnings_sheds_normals_and_writes_once_after_it() {
    let (mut correlator, mut server) = (Correlator::new(RATES, 1), Server::default());
    let mut tries = 0;
    for second in 0..600 {
        let now = second * 1_000;
        let pod = format!("ns/p{}", second % 60);
        correlator.observe(event(&pod, Kind::Warning, "BackOff", "m", now), now);
        correlator.observe(event(&pod, Kind::Normal, "Started", "m", now), now);
        while let Next::Write(write) = correlator.next(now) {
            tries += 1;
            correlator.done(&write, Outcome::Failed { pause: None }, now);
        }
    }
    assert!(tries <= 30, "{tries} tries in ten minutes without an API server");
    let mut now = 631_000;
    while let Some(pause) = flush(&mut correlator, &mut server, now) {
        now += u64::try_from(pause.as_millis()).unwrap();
    }
    let warnings: Vec<_> = server.writes.iter().filter(|write| write.2 == "BackOff").collect();
    assert_eq!(warnings.len(), 60, "one write per series");
    assert!(warnings.iter().all(|write| write.3 == 10), "each with its whole count");
}

#[test]
fn similar_events_are_combined_under_the_latest_message() {
    let (mut correlator, mut server) = (Correlator::new(RATES, 1), Server::default());
    for n in 0..30 {
        let now = n * 3_000;
        correlator.observe(event("ns/web", Kind::Warning, "Unhealthy", &format!("try {n}"), now), now);
        flush(&mut correlator, &mut server, now);
    }
    flush(&mut correlator, &mut server, 400_000);
    assert_eq!(server.events.len(), 10);
    let combined = server.events.values().last().unwrap();
    assert_eq!((combined.0, combined.2.as_str()), (21, "(combined from similar events): try 29"));
}

#[test]
fn a_refused_event_is_given_up_and_comes_back_when_it_happens_again() {
    let mut correlator = Correlator::new(RATES, 1);
    let mut now = 0;
    correlator.observe(event("ns/web", Kind::Warning, "Failed", "m", now), now);
    let mut tries = 0;
    while let Some(pause) = {
        while let Next::Write(write) = correlator.next(now) {
            tries += 1;
            correlator.done(&write, Outcome::Refused, now);
        }
        match correlator.next(now) {
            Next::Wait(pause) => pause,
            Next::Write(_) => None,
        }
    } {
        now += u64::try_from(pause.as_millis()).unwrap();
    }
    assert_eq!((tries, correlator.tally().rejected, correlator.tally().pending), (4, 1, 0));
    now += 60_000;
    correlator.observe(event("ns/web", Kind::Warning, "Failed", "m", now), now);
    let mut server = Server::default();
    flush(&mut correlator, &mut server, now);
    assert_eq!(server.count("ns/web", "Failed"), 2);
}

#[derive(Debug, Clone)]
enum Happening {
    Event {
        pod: u8,
        warning: bool,
        reason: u8,
        message: u8,
    },
    Pass(u64),
    /// The next answers: works, works but the answer is lost, fails.
    Answers(Vec<u8>),
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        6 => (0..5u8, any::<bool>(), 0..3u8, 0..14u8)
            .prop_map(|(pod, warning, reason, message)| Happening::Event { pod, warning, reason, message }),
        3 => (0..90_000u64).prop_map(Happening::Pass),
        1 => prop::collection::vec(0..3u8, 1..12).prop_map(Happening::Answers),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn beyond14_no_first_warning_is_lost_and_counts_are_exact(
        course in prop::collection::vec(happening(), 1..150)
    ) {
        let (mut correlator, mut server) = (Correlator::new(RATES, 3), Server::default());
        let (mut now, mut answers, mut seen) = (0u64, Vec::new(), BTreeMap::<(String, String), u32>::new());
        for happening in course {
            match happening {
                Happening::Event { pod, warning, reason, message } => {
                    let kind = if warning { Kind::Warning } else { Kind::Normal };
                    let (pod, reason) = (format!("ns/p{pod}"), format!("{}{reason}", kind.as_str()));
                    correlator.observe(event(&pod, kind, &reason, &message.to_string(), now), now);
                    if warning {
                        *seen.entry((pod, reason)).or_default() += 1;
                    }
                }
                Happening::Pass(millis) => now += millis,
                Happening::Answers(next) => answers = next,
            }
            let mut under_way: Vec<Box<Write>> = Vec::new();
            while let Next::Write(write) = correlator.next(now) {
                let object = &write.record.object;
                prop_assert!(under_way.iter().all(|other| other.record.object != *object), "two writes of one object");
                under_way.push(write);
            }
            for write in under_way {
                let outcome = match answers.pop() {
                    Some(2) => Outcome::Failed { pause: None },
                    Some(1) => {
                        server.take(&write, now);
                        Outcome::Failed { pause: None }
                    }
                    _ => server.take(&write, now),
                };
                correlator.done(&write, outcome, now);
            }
        }
        for _ in 0..10_000 {
            match flush(&mut correlator, &mut server, now) {
                Some(pause) => now += u64::try_from(pause.as_millis()).unwrap(),
                None => break,
            }
        }
        prop_assert_eq!(correlator.tally().pending, 0);
        prop_assert_eq!(correlator.tally().lost_warnings, 0);
        for ((pod, reason), count) in seen {
            prop_assert_eq!(server.count(&pod, &reason), count, "{} of {}", reason, pod);
        }
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5))]

    #[test]
    fn bounded_under_any_flood(objects in prop::collection::vec((0..3_000u32, any::<bool>()), 2_500..4_000)) {
        let mut correlator = Correlator::new(RATES, 3);
        let mut sent = 0u64;
        for (object, warning) in objects {
            let kind = if warning { Kind::Warning } else { Kind::Normal };
            correlator.observe(event(&format!("ns/p{object}"), kind, "R", "m", 0), 0);
            sent += 1;
        }
        let tally = correlator.tally();
        prop_assert!(tally.pending <= 2_000);
        prop_assert!(tally.shed + tally.lost_warnings <= sent);
        prop_assert!(tally.lost_warnings == 0 || tally.pending == 2_000);
    }
}
