//! A container runtime that holds its pods in memory: the base of the tests.
//!
//! [`Fake`] is a real tonic server of both CRI services. It behaves as CRI demands and, where CRI leaves room, as
//! containerd does: states go one way, stop and remove are idempotent, names are reserved, absent objects are
//! NotFound. Processes are scripted ([`Script`]) or read from the command by a tiny shell; they run on tokio's
//! clock, and wall-clock stamps follow it, so that a test on a paused clock sees hours pass at once.
//! Faults ([`FaultRule`]) make single calls, objects or answers go wrong.
//!
//! ```text
//!  client ── duplex or Unix socket ── services ── carry (log, faults) ── state ── announcer ── event streams
//!                                                        tests ── control ──┘
//! ```
//!
//! ```
//! let fake = Fake::default();
//! fake.script(Select::any().pod("web").attempt(0), Script::exits(1).after(Duration::from_secs(5)));
//! fake.fault(FaultRule::on(Call::StopContainer, FaultKind::Hang).of(Select::any().uid("u1")).once());
//! let client = fake.client();
//! // ... the code under test runs on `client`, on a paused clock ...
//! assert!(fake.wait_until(Duration::from_secs(60), |fake| fake.snapshot().running().is_empty()).await);
//! ```
//!
//! A fake process that was not scripted ends on SIGTERM with code 143. A real first process of a container that
//! installs no handler ignores SIGTERM, since the kernel protects the first process of a PID namespace; script
//! [`OnTerm::Ignore`] where that matters.
//!
//! Exec, Attach and PortForward give URLs of a small server that accepts an HTTP upgrade and echoes bytes; it does
//! not speak SPDY or WebSocket frames.

mod calls;
mod carry;
mod clock;
mod container;
mod content;
mod control;
mod distort;
mod events;
mod exec;
mod fault;
mod filter;
mod garbage;
mod ident;
mod image;
mod image_service;
mod lists;
mod lock;
mod logs;
mod net;
mod options;
mod process;
mod program;
mod record;
mod runtime_service;
mod sandbox;
mod script;
mod seed;
mod select;
mod serve;
mod services;
mod shape;
mod shell;
mod state;
mod stats;
mod streaming;
mod task_events;
mod view;
mod words;

#[cfg(test)]
mod tests;

use std::future::Future;
use std::sync::{Arc, Mutex};

use tokio::task::JoinHandle;

pub use crate::call::Call;
pub use calls::{CallRecord, Moment, Outcome};
pub use clock::DEFAULT_WALL_BASE;
pub use fault::{FaultId, FaultKind, FaultRule, Lose, Times};
pub use garbage::Garbage;
pub use options::{Logs, Options, Switches};
pub use record::{Container, Ending, MAX_OUTPUTS, Phase, Sandbox, Snapshot};
pub use script::{ExecScript, OnTerm, Output, PullScript, Script, Stream};
pub use seed::SeedPhase;
pub use select::{Select, Subject};
pub use serve::{Connector, Server};
pub use shape::{PodShape, container_config, sandbox_config};
pub use stats::Usage;
/// The codes that rules and outcomes name.
pub use tonic::Code;

/// A fake runtime; clones are handles of the same one. It is made and used inside a tokio runtime.
#[derive(Debug, Clone)]
pub struct Fake {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    options: Options,
    state: Mutex<state::State>,
    faults: Arc<fault::Faults>,
    calls: calls::Calls,
    scripts: Mutex<script::Scripts>,
    usage: Mutex<stats::Usages>,
    logs: logs::OpenLogs,
    streaming: tokio::sync::OnceCell<streaming::Address>,
    sessions: streaming::Sessions,
    connections: Mutex<serve::Connections>,
}

impl Default for Fake {
    fn default() -> Self {
        Self::new(Options::default())
    }
}

impl Fake {
    /// A runtime without pods. Must be called inside a tokio runtime, whose clock it takes.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let faults = Arc::new(fault::Faults::default());
        let announcer = events::Announcer::new(Arc::clone(&faults));
        let inner = Inner {
            state: Mutex::new(state::State::new(&options, announcer)),
            faults,
            calls: calls::Calls::new(),
            scripts: Mutex::default(),
            usage: Mutex::default(),
            logs: logs::OpenLogs::default(),
            streaming: tokio::sync::OnceCell::new(),
            sessions: streaming::Sessions::default(),
            connections: Mutex::default(),
            options,
        };
        Self { inner: Arc::new(inner) }
    }

    /// Starts a task of the runtime. It outlives the call that started it, as a real runtime's work does.
    #[expect(
        clippy::disallowed_methods,
        reason = "the fake stands for another program, which nobody here supervises"
    )]
    fn spawn<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        tokio::spawn(task)
    }
}
