//! Faults: which calls and objects go wrong, how, and how often.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use super::garbage::Garbage;
use super::ident::mix;
use super::lock::lock;
use super::record::AsOf;
use super::select::{Select, Subject};
use crate::call::Call;

/// How often a rule applies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Times {
    /// To the first call that it fits.
    Once,
    /// To the first calls that it fits, this many.
    Count(u32),
    /// To every call that it fits.
    Always,
    /// To each call that it fits with this probability, drawn from a generator with this seed.
    Probability {
        /// Seed of the generator.
        seed: u64,
        /// From 0 to 1.
        p: f64,
    },
}

/// What becomes of the answer of a call whose work was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lose {
    /// The client gets this error.
    Code(Code),
    /// The client gets nothing until the rule is removed, and Unavailable then.
    Hang,
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq)]
pub enum FaultKind {
    /// The call fails with this code and text, and nothing is done.
    Error(Code, String),
    /// The call takes this much longer. The work is done even if the client went away meanwhile.
    Delay(Duration),
    /// The call stays pending until the rule is removed, and is served then. If the client goes away before
    /// that, nothing is done.
    Hang,
    /// The work is done, but the answer is lost.
    CommitThenLose(Lose),
    /// A list shows what was true this long ago.
    StaleList(Duration),
    /// A list shows what was true when the rule was made.
    FrozenList,
    /// A list leaves out the objects with these ids.
    PartialList(Vec<String>),
    /// A list has no records.
    EmptyList,
    /// A list answer is padded to this many bytes on the wire.
    OversizedList(usize),
    /// A list has a malformed record more, or the answer of a status call is malformed, or all records in the events of
    /// a stream that is opened.
    GarbageRecord(Garbage),
    /// Events of the objects that the rule fits are not sent. The rule's call is not looked at.
    DropEvents,
    /// Records, answers and events of the objects that the rule fits show a creation time that is off by
    /// this many nanoseconds. The rule's call is not looked at.
    LieCreatedAt(i64),
}

/// A rule: when it fits, the kind applies.
#[derive(Debug, Clone, PartialEq)]
pub struct FaultRule {
    /// Which call; none is any.
    pub call: Option<Call>,
    /// Which objects. A list call is about no object, so that only a rule for any object fits it.
    pub select: Select,
    /// How often.
    pub times: Times,
    /// What goes wrong.
    pub kind: FaultKind,
}

impl FaultRule {
    /// A rule for every such call.
    #[must_use]
    pub fn on(call: Call, kind: FaultKind) -> Self {
        Self { call: Some(call), select: Select::any(), times: Times::Always, kind }
    }

    /// A rule for every call.
    #[must_use]
    pub fn on_any(kind: FaultKind) -> Self {
        Self { call: None, select: Select::any(), times: Times::Always, kind }
    }

    /// Narrows the rule to some objects.
    #[must_use]
    pub fn of(self, select: Select) -> Self {
        Self { select, ..self }
    }

    /// The rule applies once.
    #[must_use]
    pub fn once(self) -> Self {
        self.times(Times::Once)
    }

    /// Sets how often the rule applies.
    #[must_use]
    pub fn times(self, times: Times) -> Self {
        Self { times, ..self }
    }
}

/// Names a rule, so that it can be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FaultId(u64);

#[derive(Debug)]
struct Active {
    rule: FaultRule,
    /// Number of changes of the runtime when the rule was made.
    made_at: u64,
    left: u64,
    random: u64,
    hits: u64,
    removed: CancellationToken,
}

impl Active {
    /// Whether the rule applies to one more fitting call.
    fn draw(&mut self) -> bool {
        let applies = match self.rule.times {
            Times::Probability { p, .. } => unit(mix(&mut self.random)) < p,
            _ => self.left > 0,
        };
        if applies {
            self.left = self.left.saturating_sub(1);
            self.hits = self.hits.saturating_add(1);
        }
        applies
    }
}

/// A number in [0, 1) out of the upper 53 bits, as many as an `f64` holds exactly.
fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

/// What a call has to suffer.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) delay: Duration,
    pub(super) error: Option<Status>,
    pub(super) hangs: Vec<CancellationToken>,
    pub(super) lose: Option<(Lose, CancellationToken)>,
    pub(super) distort: Distort,
}

/// What an answer has to suffer.
#[derive(Debug, Clone, Default)]
pub(super) struct Distort {
    pub(super) as_of: Option<AsOf>,
    pub(super) omit: Vec<String>,
    pub(super) empty: bool,
    pub(super) pad_to: Option<usize>,
    pub(super) garbage: Vec<Garbage>,
}

#[derive(Debug, Default)]
struct Book {
    rules: BTreeMap<FaultId, Active>,
    made: u64,
}

#[derive(Debug, Default)]
pub(super) struct Faults(Mutex<Book>);

impl Faults {
    pub(super) fn add(&self, rule: FaultRule, made_at: u64) -> FaultId {
        let mut book = lock(&self.0);
        book.made = book.made.saturating_add(1);
        let id = FaultId(book.made);
        let (left, random) = match rule.times {
            Times::Once => (1, 0),
            Times::Count(count) => (u64::from(count), 0),
            Times::Always => (u64::MAX, 0),
            Times::Probability { seed, .. } => (u64::MAX, seed),
        };
        let removed = CancellationToken::new();
        book.rules.insert(id, Active { rule, made_at, left, random, hits: 0, removed });
        id
    }

    /// Removes a rule; says how often it applied.
    pub(super) fn remove(&self, id: FaultId) -> u64 {
        let removed = lock(&self.0).rules.remove(&id);
        removed.map_or(0, |active| {
            active.removed.cancel();
            active.hits
        })
    }

    pub(super) fn clear(&self) {
        for active in std::mem::take(&mut lock(&self.0).rules).into_values() {
            active.removed.cancel();
        }
    }

    pub(super) fn hits(&self, id: FaultId) -> u64 {
        lock(&self.0).rules.get(&id).map_or(0, |active| active.hits)
    }

    /// What a call has to suffer; uses up rules that apply a limited number of times.
    pub(super) fn plan(&self, call: Call, subject: &Subject, now: tokio::time::Instant) -> Plan {
        let mut plan = Plan::default();
        for active in lock(&self.0).rules.values_mut() {
            let rule = &active.rule;
            let by_record = matches!(rule.kind, FaultKind::DropEvents | FaultKind::LieCreatedAt(_));
            let fits = rule.call.is_none_or(|wanted| wanted == call) && rule.select.fits(subject);
            if !by_record && fits && active.draw() {
                plan.suffer(active, now);
            }
        }
        plan
    }

    /// Whether an event about `subject` is swallowed.
    pub(super) fn drops_event(&self, subject: &Subject) -> bool {
        let mut book = lock(&self.0);
        let mut fits = book
            .rules
            .values_mut()
            .filter(|active| active.rule.kind == FaultKind::DropEvents && active.rule.select.fits(subject));
        fits.any(Active::draw)
    }

    /// By how many nanoseconds a creation time is off. `subject` is only asked where some rule lies: lists are long.
    pub(super) fn lie(&self, subject: impl FnOnce() -> Subject) -> i64 {
        let mut book = lock(&self.0);
        if !book.rules.values().any(|active| matches!(active.rule.kind, FaultKind::LieCreatedAt(_))) {
            return 0;
        }
        let subject = subject();
        let mut offset = 0_i64;
        for active in book.rules.values_mut() {
            if let FaultKind::LieCreatedAt(by) = active.rule.kind
                && active.rule.select.fits(&subject)
                && active.draw()
            {
                offset = offset.saturating_add(by);
            }
        }
        offset
    }
}

impl Plan {
    fn suffer(&mut self, active: &Active, now: tokio::time::Instant) {
        let removed = || active.removed.clone();
        match &active.rule.kind {
            FaultKind::Error(code, text) => self.error = Some(Status::new(*code, text.clone())),
            FaultKind::Delay(time) => self.delay = self.delay.saturating_add(*time),
            FaultKind::Hang => self.hangs.push(removed()),
            FaultKind::CommitThenLose(lose) => self.lose = Some((lose.clone(), removed())),
            FaultKind::StaleList(age) => {
                self.distort.as_of = Some(now.checked_sub(*age).map_or(AsOf::Seq(0), AsOf::At));
            }
            FaultKind::FrozenList => self.distort.as_of = Some(AsOf::Seq(active.made_at)),
            FaultKind::PartialList(ids) => self.distort.omit.extend(ids.iter().cloned()),
            FaultKind::EmptyList => self.distort.empty = true,
            FaultKind::OversizedList(bytes) => self.distort.pad_to = Some(*bytes),
            FaultKind::GarbageRecord(garbage) => self.distort.garbage.push(garbage.clone()),
            FaultKind::DropEvents | FaultKind::LieCreatedAt(_) => {}
        }
    }
}
