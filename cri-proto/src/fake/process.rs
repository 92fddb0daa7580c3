//! The processes of containers: one task per running container plays its program on tokio's clock.
//!
//! A task ends when its program does, when the process is killed (the task is aborted) or when the container is
//! removed. It writes the container's output and its end.

use std::path::Path;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tonic::Status;

use super::Fake;
use super::lock::lock;
use super::logs::LogFile;
use super::options::Logs;
use super::program::{Player, Program, Step};
use super::record::{Container, Ending, MAX_OUTPUTS, Phase};
use super::script::{OnTerm, Output, Script};
use super::shell::{Unknown, interpret};
use crate::v1::{ContainerConfig, ContainerState};

/// The absolute path of a container's log; empty if either part is.
pub(super) fn log_path(directory: &str, file: &str) -> String {
    if directory.is_empty() || file.is_empty() {
        return String::new();
    }
    Path::new(directory).join(file).to_string_lossy().into_owned()
}

/// What is to be started.
struct Start {
    id: String,
    program: Result<Program, String>,
    log_path: String,
}

impl Fake {
    /// Starts the container's process.
    pub(super) async fn start(&self, id: &str) -> Result<(), Status> {
        let start = self.prepare(id)?;
        let program = match start.program {
            Ok(program) => program,
            Err(text) => return Err(self.start_failed(&start.id, &text)),
        };
        let log = match self.open_log(&start.log_path).await {
            Ok(log) => log,
            Err(error) => {
                let text = format!("failed to create container io: {error}");
                return Err(self.start_failed(&start.id, &text));
            }
        };
        self.launch(&start.id, program, log)
    }

    /// CREATED to RUNNING, with a task that plays the program.
    pub(super) fn launch(&self, id: &str, program: Program, log: Option<LogFile>) -> Result<(), Status> {
        let mut state = lock(&self.inner.state);
        let told = state.start_container(id)?;
        let (fake, player) = (self.clone(), id.to_owned());
        let task = self.spawn(async move { fake.play(player, program, told, log).await });
        if let Some(process) = state.containers.get_mut(id).and_then(|c| c.process.as_mut()) {
            process.task = Some(task.abort_handle());
        }
        Ok(())
    }

    fn prepare(&self, id: &str) -> Result<Start, Status> {
        let state = lock(&self.inner.state);
        let container = state.container(id)?;
        if container.phase != Phase::Created {
            let shown = container.state().as_str_name();
            let text =
                format!("failed to set starting state for container \"{id}\": container is in {shown} state");
            return Err(Status::unknown(text));
        }
        let program = match state.ready_sandbox(&container.sandbox_id) {
            Ok(_) => self.program_of(container),
            Err(status) => Err(status.message().to_owned()),
        };
        Ok(Start { id: container.id.clone(), program, log_path: container.log_path.clone() })
    }

    /// What the container's process does, or why it cannot be started.
    pub(super) fn program_of(&self, container: &Container) -> Result<Program, String> {
        match lock(&self.inner.scripts).processes.find(&container.subject()) {
            Some(Script { start_error: Some(text), .. }) => {
                Err(format!("failed to create containerd task: failed to create shim task: {text}"))
            }
            Some(script) => Ok(Program::of_script(&script)),
            None => Ok(interpreted(&container.config)),
        }
    }

    /// A container that cannot be started goes to EXITED with code 128 and reason `StartError`, and there is no
    /// event of it, as in containerd.
    fn start_failed(&self, id: &str, text: &str) -> Status {
        let ending = Ending { code: 128, reason: "StartError".to_owned(), message: text.to_owned() };
        let mut state = lock(&self.inner.state);
        let now = state.wall();
        state.mark_exited(id, now, ending);
        Status::unknown(text)
    }

    async fn open_log(&self, path: &str) -> std::io::Result<Option<LogFile>> {
        if self.inner.options.logs == Logs::Memory || path.is_empty() {
            return Ok(None);
        }
        let path = self.inner.options.root.join(path);
        let log = self.inner.logs.open(path).await?;
        Ok(Some(log))
    }

    async fn play(self, id: String, program: Program, mut told: watch::Receiver<bool>, log: Option<LogFile>) {
        let mut player = Player::new(program.steps);
        let code = tokio::select! {
            biased;
            code = self.last_act(&id, &program.on_term, &program.last_words, &mut told, log.as_ref()) => code,
            code = self.act(&id, &mut player, log.as_ref()) => code,
        };
        if let Some(log) = &log {
            log.finish(self.wall_now()).await;
        }
        let ending = if program.oom { Ending::oom(code) } else { Ending::code(code) };
        self.end_process(&id, ending);
    }

    /// Plays the steps; gives the exit code.
    async fn act(&self, id: &str, player: &mut Player, log: Option<&LogFile>) -> i32 {
        loop {
            match player.advance() {
                Step::Print(output) => self.write(id, output, log).await,
                Step::Sleep(time) if time.is_zero() => {}
                Step::Sleep(time) => tokio::time::sleep(time).await,
                Step::Forever | Step::Loop(_) => std::future::pending().await,
                Step::Exit(code) => return code,
            }
        }
    }

    /// Waits for SIGTERM, then does what the program does with it; gives the exit code.
    async fn last_act(
        &self,
        id: &str,
        on_term: &OnTerm,
        last_words: &[Output],
        told: &mut watch::Receiver<bool>,
        log: Option<&LogFile>,
    ) -> i32 {
        if told.wait_for(|told| *told).await.is_err() {
            std::future::pending::<()>().await;
        }
        for output in last_words {
            self.write(id, output.clone(), log).await;
        }
        match on_term {
            OnTerm::Ignore => std::future::pending().await,
            OnTerm::Exit { code, after } => {
                if !after.is_zero() {
                    tokio::time::sleep(*after).await;
                }
                *code
            }
        }
    }

    async fn write(&self, id: &str, output: Output, log: Option<&LogFile>) {
        if let Some(log) = log {
            log.write(self.wall_now(), &output).await;
        }
        let mut state = lock(&self.inner.state);
        if let Some(container) = state.containers.get_mut(id)
            && container.output.len() < MAX_OUTPUTS
        {
            container.output.push(output);
        }
    }

    /// The process is dead now; the runtime shows it at once, or after the time that the options say.
    pub(super) fn end_process(&self, id: &str, ending: Ending) {
        let mut state = lock(&self.inner.state);
        let finished_at = state.wall();
        let Some(container) = state.containers.get_mut(id) else { return };
        if container.state() != ContainerState::ContainerRunning {
            return;
        }
        let Some(process) = container.process.as_mut() else { return };
        if std::mem::replace(&mut process.dying, true) {
            return;
        }
        let task = process.task.take();
        let delay = self.inner.options.exit_visible_after;
        if delay.is_zero() {
            state.exit_container(id, finished_at, ending);
        } else {
            self.show_later(id, delay, finished_at, ending);
        }
        drop(state);
        // Last, since the task that ends itself comes through here too.
        if let Some(task) = task {
            task.abort();
        }
    }

    fn show_later(&self, id: &str, delay: Duration, finished_at: i64, ending: Ending) {
        let (fake, id) = (self.clone(), id.to_owned());
        self.spawn(async move {
            tokio::time::sleep(delay).await;
            lock(&fake.inner.state).exit_container(&id, finished_at, ending);
        });
    }

    pub(super) fn wall_now(&self) -> i64 {
        lock(&self.inner.state).clock.wall(Instant::now())
    }
}

/// What a container does whose first process nobody scripted.
fn interpreted(config: &ContainerConfig) -> Program {
    let argv: Vec<String> = config.command.iter().chain(&config.args).cloned().collect();
    let forever = || Program::of_steps(vec![Step::Forever]);
    if argv.is_empty() { forever() } else { interpret(&argv, Unknown::RunsForever).unwrap_or_else(forever) }
}
