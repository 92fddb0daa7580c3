//! What tests do to the runtime from outside: look, script, break, kill.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::Fake;
use super::calls::{CallRecord, Moment, Outcome};
use super::fault::{FaultId, FaultRule};
use super::ident::Ids;
use super::lock::lock;
use super::options::Switches;
use super::record::{Container, Ending, Sandbox, Snapshot};
use super::script::{ExecScript, PullScript, Script};
use super::select::Select;
use crate::call::Call;
use crate::v1;

impl Fake {
    /// All sandboxes and containers with their whole configuration.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        lock(&self.inner.state).snapshot()
    }

    /// The same without a copy. `look` must not call the fake.
    pub fn look<T>(
        &self,
        look: impl FnOnce(&BTreeMap<String, Sandbox>, &BTreeMap<String, Container>) -> T,
    ) -> T {
        let state = lock(&self.inner.state);
        look(&state.sandboxes, &state.containers)
    }

    /// All calls so far that are still kept, oldest first.
    #[must_use]
    pub fn calls(&self) -> Vec<CallRecord> {
        self.inner.calls.all()
    }

    /// How many kept calls `wanted` says yes to.
    pub fn count_calls(&self, wanted: impl Fn(&CallRecord) -> bool) -> usize {
        self.inner.calls.count(wanted)
    }

    /// How many calls have not ended.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.inner.calls.count(|record| record.outcome == Outcome::Open)
    }

    /// How many of these calls have not ended.
    #[must_use]
    pub fn in_flight_of(&self, call: Call) -> usize {
        self.inner.calls.count(|record| record.call == call && record.outcome == Outcome::Open)
    }

    /// Empties the log of calls, except for those that have not ended.
    pub fn forget_calls(&self) {
        self.inner.calls.forget();
    }

    /// `tap` is told of each moment of each call, before the call goes on. It must not call the fake.
    pub fn set_tap(&self, tap: impl Fn(Moment, &CallRecord) + Send + 'static) {
        self.inner.calls.set_tap(Some(Box::new(tap)));
    }

    /// Waits until `done` says yes of the fake; looks again at each moment of a call, each change of a pod, and each
    /// second of tokio's time. False if `limit` is over first.
    pub async fn wait_until(&self, limit: Duration, done: impl Fn(&Fake) -> bool) -> bool {
        let mut moments = self.inner.calls.changes();
        let mut changes = lock(&self.inner.state).changes();
        let waited = timeout(limit, async {
            while !done(self) {
                tokio::select! {
                    _ = moments.changed() => {}
                    _ = changes.changed() => {}
                    () = sleep(Duration::from_secs(1)) => {}
                }
            }
        });
        waited.await.is_ok()
    }

    /// How many pod addresses are in use: what is left after all pods are gone is a leak.
    #[must_use]
    pub fn addresses_in_use(&self) -> usize {
        lock(&self.inner.state).addresses.in_use()
    }

    /// How many clients listen to the event stream.
    #[must_use]
    pub fn event_listeners(&self) -> usize {
        lock(&self.inner.state).announcer.listeners()
    }

    /// What the containers that `select` fits do from now on, when they are started. The last one wins.
    pub fn script(&self, select: Select, script: Script) {
        lock(&self.inner.scripts).processes.add(select, script);
    }

    /// What every `ExecSync` in the containers that `select` fits does from now on. The last one wins.
    pub fn script_exec(&self, select: Select, script: ExecScript) {
        lock(&self.inner.scripts).execs.add(select, script);
    }

    /// What pulls of the images that `select` fits do from now on. The last one wins.
    pub fn script_pull(&self, select: Select, script: PullScript) {
        lock(&self.inner.scripts).pulls.add(select, script);
    }

    /// Gives the images that `select` fits to nobody but this user with this password. The last one wins.
    pub fn make_private(&self, select: Select, user: &str, password: &str) {
        lock(&self.inner.scripts).logins.add(select, (user.to_owned(), password.to_owned()));
    }

    /// Adds a rule.
    pub fn fault(&self, rule: FaultRule) -> FaultId {
        let changes = lock(&self.inner.state).seq();
        self.inner.faults.add(rule, changes)
    }

    /// Removes a rule and lets go what hangs by it; says how often it applied.
    pub fn remove_fault(&self, id: FaultId) -> u64 {
        self.inner.faults.remove(id)
    }

    /// How often a rule applied so far.
    #[must_use]
    pub fn fault_hits(&self, id: FaultId) -> u64 {
        self.inner.faults.hits(id)
    }

    /// Removes all rules and lets go what hangs by them.
    pub fn clear_faults(&self) {
        self.inner.faults.clear();
    }

    /// Changes switches.
    pub fn configure(&self, change: impl FnOnce(&mut Switches)) {
        change(&mut lock(&self.inner.state).switches);
    }

    /// Every wall-clock stamp is off by `nanoseconds` from now on.
    pub fn set_clock_skew(&self, nanoseconds: i64) {
        lock(&self.inner.state).clock.set_skew(nanoseconds);
    }

    /// Wall nanoseconds as the runtime stamps them now.
    #[must_use]
    pub fn wall(&self) -> i64 {
        self.wall_now()
    }

    /// Holds an image of this many bytes; gives its id.
    pub fn seed_image(&self, reference: &str, bytes: u64) -> String {
        let mut state = lock(&self.inner.state);
        let id = state.images.add(reference, bytes);
        state.images.set_size(&id, bytes);
        id
    }

    /// The user that the image of this reference names: by id, by name, or none at all. The image is there afterwards.
    pub fn seed_image_user(&self, reference: &str, uid: Option<i64>, name: &str) {
        lock(&self.inner.state).images.set_user(reference, uid, name);
    }

    /// Gives the image `known` one more tag; false if it is not there.
    pub fn tag_image(&self, known: &str, other: &str) -> bool {
        lock(&self.inner.state).images.tag(known, other)
    }

    /// The process of a container ends at once with this code, without a signal. Nothing happens if it does not run.
    pub fn exit_now(&self, container_id: &str, code: i32) {
        self.end_process(container_id, Ending::code(code));
    }

    /// The process of a container is killed from outside: code 137.
    pub fn kill(&self, container_id: &str) {
        self.end_process(container_id, Ending::code(137));
    }

    /// The process of a container is killed for want of memory: code 137, reason `OOMKilled`.
    pub fn oom(&self, container_id: &str) {
        self.end_process(container_id, Ending::oom(137));
    }

    /// The process ends as told.
    pub fn end(&self, container_id: &str, ending: Ending) {
        self.end_process(container_id, ending);
    }

    /// The sandbox goes to NOTREADY, and its containers exit with 137.
    pub fn kill_sandbox(&self, sandbox_id: &str) {
        self.sandbox_died(sandbox_id);
    }

    /// The runtime forgets a container without a trace or an event; its name is free again.
    pub fn forget_container(&self, container_id: &str) {
        let mut state = lock(&self.inner.state);
        if let Some(container) = state.containers.remove(container_id) {
            if let Some(process) = container.process {
                if let Some(task) = process.task {
                    task.abort();
                }
                process.gone.send_replace(true);
            }
            state.release(container_id);
        }
    }

    /// The runtime forgets a sandbox with its containers, without a trace or an event.
    pub fn forget_sandbox(&self, sandbox_id: &str) {
        let containers = lock(&self.inner.state).containers_in(sandbox_id);
        for container in containers {
            self.forget_container(&container);
        }
        let mut state = lock(&self.inner.state);
        if let Some(ip) = state.sandboxes.remove(sandbox_id).and_then(|sandbox| sandbox.ip) {
            state.addresses.give_back(ip);
        }
        state.release(sandbox_id);
    }

    /// The runtime restarts: connections and event streams break and pods live on. Clients hear no more of calls in
    /// flight, but work that had begun is done.
    pub fn restart(&self) {
        self.disconnect();
        lock(&self.inner.state).announcer.cut();
    }

    /// The runtime restarts and knows no pod any more; images stay. Ids differ from those before.
    pub fn restart_with_amnesia(&self) {
        self.restart();
        let sandboxes: Vec<String> = lock(&self.inner.state).sandboxes.keys().cloned().collect();
        for sandbox in sandboxes {
            self.forget_sandbox(&sandbox);
        }
        let mut state = lock(&self.inner.state);
        state.dead_sandboxes.clear();
        state.dead_containers.clear();
        state.names.clear();
        state.ids = Ids::new(self.inner.options.seed.wrapping_add(state.seq()));
    }

    /// Ends all event streams; listeners may come back.
    pub fn cut_events(&self) {
        lock(&self.inner.state).announcer.cut();
    }

    pub(super) fn runtime_status(&self, verbose: bool) -> v1::StatusResponse {
        let switches = lock(&self.inner.state).switches.clone();
        let condition = |name: &str, status: bool| v1::RuntimeCondition {
            r#type: name.to_owned(),
            status,
            reason: if status { String::new() } else { format!("{name}IsFalse") },
            message: if status { String::new() } else { "switched off by the test".to_owned() },
        };
        let conditions = vec![
            condition("RuntimeReady", switches.runtime_ready),
            condition("NetworkReady", switches.network_ready),
        ];
        let features = v1::RuntimeHandlerFeatures {
            user_namespaces: switches.user_namespaces,
            ..v1::RuntimeHandlerFeatures::default()
        };
        let named = |name: &String| v1::RuntimeHandler { name: name.clone(), features: Some(features) };
        let handlers = self.inner.options.runtime_handlers.iter().map(named);
        let info = if verbose { [("config".to_owned(), "{}".to_owned())].into() } else { Default::default() };
        v1::StatusResponse {
            status: Some(v1::RuntimeStatus { conditions }),
            info,
            runtime_handlers: handlers.collect(),
            features: switches.supplemental_groups_policy.map(|supplemental_groups_policy| {
                v1::RuntimeFeatures { supplemental_groups_policy, ..Default::default() }
            }),
        }
    }
}
