//! How scripted processes behave, and which container gets which script. Pure.

use std::time::Duration;

use super::select::{Select, Subject};

/// What a process does with SIGTERM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OnTerm {
    /// It ends with this code after this long.
    Exit {
        /// Exit code.
        code: i32,
        /// Time from the signal to the end.
        after: Duration,
    },
    /// It goes on as if nothing had come; only SIGKILL ends it.
    Ignore,
}

/// A process that is ended at once by SIGTERM shows 128 + 15.
pub(super) const TERMINATED: OnTerm = OnTerm::Exit { code: 143, after: Duration::ZERO };

/// Which stream a process wrote to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Something that a process wrote, line ends included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Where to.
    pub stream: Stream,
    /// What.
    pub text: String,
}

/// What the first process of a container does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// How long it runs by itself; none is for ever.
    pub run_for: Option<Duration>,
    /// Its exit code once `run_for` is over.
    pub exit_code: i32,
    /// What it does with SIGTERM.
    pub on_term: OnTerm,
    /// What it writes at its start.
    pub output: Vec<Output>,
    /// If set, `StartContainer` fails with this text and the container goes to EXITED with code 128 and
    /// reason `StartError`, as containerd does.
    pub start_error: Option<String>,
    /// Whether its end is reported as `OOMKilled`.
    pub oom: bool,
}

impl Script {
    /// Runs until it is told to end; SIGTERM ends it at once with code 143.
    #[must_use]
    pub fn forever() -> Self {
        Self {
            run_for: None,
            exit_code: 0,
            on_term: TERMINATED,
            output: Vec::new(),
            start_error: None,
            oom: false,
        }
    }

    /// Ends at once with `code`.
    #[must_use]
    pub fn exits(code: i32) -> Self {
        Self { run_for: Some(Duration::ZERO), exit_code: code, ..Self::forever() }
    }

    /// Fails to start with `text`.
    #[must_use]
    pub fn fails_to_start(text: impl Into<String>) -> Self {
        Self { start_error: Some(text.into()), ..Self::forever() }
    }

    /// Runs for `time` before it ends.
    #[must_use]
    pub fn after(self, time: Duration) -> Self {
        Self { run_for: Some(time), ..self }
    }

    /// Sets what SIGTERM does.
    #[must_use]
    pub fn on_term(self, on_term: OnTerm) -> Self {
        Self { on_term, ..self }
    }

    /// Adds a line on standard output.
    #[must_use]
    pub fn prints(mut self, line: &str) -> Self {
        self.output.push(Output { stream: Stream::Stdout, text: format!("{line}\n") });
        self
    }

    /// Its end is reported as `OOMKilled`.
    #[must_use]
    pub fn oom(self) -> Self {
        Self { oom: true, ..self }
    }
}

/// What a command does that is run inside a container by `ExecSync`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExecScript {
    /// How long it takes; a call's own timeout ends it earlier.
    pub takes: Duration,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// Exit code.
    pub exit_code: i32,
}

/// What a pull of an image does.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PullScript {
    /// How long it takes.
    pub takes: Duration,
    /// If set, it fails with this code and text, after that time.
    pub error: Option<(tonic::Code, String)>,
}

/// Scripts by pattern; the one that was added last wins.
#[derive(Debug)]
pub(super) struct Book<T>(Vec<(Select, T)>);

impl<T> Default for Book<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Clone> Book<T> {
    pub(super) fn add(&mut self, select: Select, value: T) {
        self.0.push((select, value));
    }

    pub(super) fn find(&self, subject: &Subject) -> Option<T> {
        self.0.iter().rev().find(|(select, _)| select.fits(subject)).map(|(_, value)| value.clone())
    }
}

/// All scripts of one fake.
#[derive(Debug, Default)]
pub(super) struct Scripts {
    pub(super) processes: Book<Script>,
    pub(super) execs: Book<ExecScript>,
    pub(super) pulls: Book<PullScript>,
    /// Who is given private images: user and password.
    pub(super) logins: Book<(String, String)>,
}
