//! Faults that tests order, by the requests that they befall.

use std::time::Duration;

use tokio::time::Instant;

use super::FakeApi;
use super::requests::{Request, Verb};
use super::status::Failure;

/// What goes wrong.
#[derive(Debug, Clone)]
pub enum Fault {
    /// The request is handled this much later; other faults still apply.
    Latency(Duration),
    /// Refused without effect.
    Fail(Failure),
    /// The connection is refused.
    Refuse,
    /// Never answered, without effect.
    BlackHole,
    /// Done, but the connection is reset before the answer.
    LoseReply,
    /// Done, but never answered.
    HoldReply,
    /// Half of the answer arrives, then the connection is reset.
    CutReply,
    /// A watch gets so many events (bookmarks are events), then half of the next one and a reset.
    CutWatch(usize),
    /// A watch tells every event twice.
    Repeat,
    /// A watch opens and stays silent.
    Silent,
    /// Events of a watch arrive this much later.
    Lag(Duration),
    /// A list is empty.
    EmptyList,
    /// A list shows this old version, as a lagging replica does, and says so.
    StaleList(u64),
}

impl Fault {
    pub fn not_found() -> Self {
        Self::Fail(Failure::new(404, "NotFound", "not found, by order"))
    }

    pub fn conflict() -> Self {
        let text = "Operation cannot be fulfilled: the object has been modified; please apply your changes to the \
                    latest version and try again";
        Self::Fail(Failure::new(409, "Conflict", text))
    }

    pub fn gone() -> Self {
        Self::Fail(Failure::expired("too old resource version, by order"))
    }

    pub fn invalid() -> Self {
        Self::Fail(Failure::new(422, "Invalid", "invalid, by order"))
    }

    /// 429 with Retry-After in seconds.
    pub fn too_many(seconds: u32) -> Self {
        Self::Fail(Failure::too_many(seconds))
    }

    pub fn internal() -> Self {
        Self::Fail(Failure::internal("etcdserver: request timed out"))
    }

    pub fn unavailable() -> Self {
        Self::Fail(Failure::unavailable("the server is currently unable to handle the request"))
    }
}

/// Which requests a fault befalls. All conditions must hold.
#[derive(Debug, Clone, Default)]
pub struct On {
    verbs: Vec<Verb>,
    writes: bool,
    resource: Option<String>,
    sub: Option<String>,
    namespace: Option<String>,
    name: Option<String>,
    skip: usize,
    times: Option<usize>,
    chance: Option<(f64, u64)>,
    lasts: Option<Duration>,
}

impl On {
    /// Every request.
    pub fn any() -> Self {
        Self::default()
    }

    pub fn verb(verb: Verb) -> Self {
        Self::default().or(verb)
    }

    /// Everything but get, list and watch.
    pub fn writes() -> Self {
        Self { writes: true, ..Self::default() }
    }

    /// This verb too.
    pub fn or(mut self, verb: Verb) -> Self {
        self.verbs.push(verb);
        self
    }

    /// Qualified plural: `pods`, `leases.coordination.k8s.io`.
    pub fn resource(mut self, resource: &str) -> Self {
        self.resource = Some(resource.to_owned());
        self
    }

    /// `status`, `token`; empty for the object itself.
    pub fn sub(mut self, sub: &str) -> Self {
        self.sub = Some(sub.to_owned());
        self
    }

    pub fn namespace(mut self, namespace: &str) -> Self {
        self.namespace = Some(namespace.to_owned());
        self
    }

    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// Only the n-th that matches, counted from 1.
    pub fn nth(mut self, nth: usize) -> Self {
        self.skip = nth.saturating_sub(1);
        self.times = Some(1);
        self
    }

    /// Only the first so many.
    pub fn times(mut self, times: usize) -> Self {
        self.times = Some(times);
        self
    }

    /// Each with this probability of 0 to 1; the seed makes it repeatable.
    pub fn chance(mut self, chance: f64, seed: u64) -> Self {
        self.chance = Some((chance, seed));
        self
    }

    /// Only so long from now on, in tokio's time.
    pub fn lasting(mut self, time: Duration) -> Self {
        self.lasts = Some(time);
        self
    }

    fn fits(&self, request: &Request) -> bool {
        let same =
            |wanted: &Option<String>, value: &str| wanted.as_deref().is_none_or(|wanted| wanted == value);
        (self.verbs.is_empty() || self.verbs.contains(&request.verb))
            && (!self.writes || request.is_write())
            && same(&self.resource, &request.resource)
            && same(&self.sub, &request.sub)
            && same(&self.namespace, &request.namespace)
            && same(&self.name, &request.name)
    }
}

/// An order in force.
#[derive(Debug)]
pub struct Rule {
    id: usize,
    on: On,
    fault: Fault,
    until: Option<Instant>,
    seen: usize,
    hits: usize,
    random: u64,
}

impl Rule {
    /// Counts the request; the fault if it befalls it.
    pub fn meets(&mut self, request: &Request, now: Instant) -> Option<Fault> {
        if self.until.is_some_and(|until| now >= until) || !self.on.fits(request) {
            return None;
        }
        self.seen += 1;
        let spent = self.on.times.is_some_and(|times| self.hits >= times);
        if self.seen <= self.on.skip || spent || !self.draw() {
            return None;
        }
        self.hits += 1;
        Some(self.fault.clone())
    }

    /// splitmix64, so that a seed repeats a run.
    fn draw(&mut self) -> bool {
        let Some((chance, _)) = self.on.chance else { return true };
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        let share = f64::from(u32::try_from(mixed >> 32).unwrap_or(u32::MAX)) / f64::from(u32::MAX);
        share < chance
    }
}

impl FakeApi {
    /// Orders a fault; the number takes it back.
    pub fn fault(&self, on: On, fault: Fault) -> usize {
        let mut state = self.lock();
        let id = state.rules.last().map_or(1, |rule| rule.id + 1);
        let until = on.lasts.map(|time| Instant::now() + time);
        let random = on.chance.map_or(0, |(_, seed)| seed);
        state.rules.push(Rule { id, on, fault, until, seen: 0, hits: 0, random });
        id
    }

    pub fn take_back(&self, id: usize) {
        self.lock().rules.retain(|rule| rule.id != id);
    }

    pub fn no_more_faults(&self) {
        self.lock().rules.clear();
    }

    /// How many requests the fault befell.
    pub fn hits(&self, id: usize) -> usize {
        self.lock().rules.iter().find(|rule| rule.id == id).map_or(0, |rule| rule.hits)
    }
}
