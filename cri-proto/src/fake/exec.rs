//! Commands that are run inside a running container by `ExecSync`.

use std::time::Duration;

use tonic::Status;

use super::Fake;
use super::lock::lock;
use super::program::{Player, Program, Step};
use super::record::Container;
use super::script::{ExecScript, Output, Stream};
use super::shell::{Unknown, interpret};
use super::state::State;
use crate::v1::{ContainerState, ExecSyncRequest, ExecSyncResponse};

impl State {
    /// The container, if its process runs.
    pub(super) fn running_container(&self, id: &str) -> Result<&Container, Status> {
        let container = self.container(id)?;
        match container.state() {
            ContainerState::ContainerRunning => Ok(container),
            other => Err(Status::unknown(format!("container is in {} state", other.as_str_name()))),
        }
    }
}

impl Fake {
    pub(super) async fn exec_sync(&self, request: ExecSyncRequest) -> Result<ExecSyncResponse, Status> {
        let program = self.exec_program(&request)?;
        let mut answer = ExecSyncResponse::default();
        let played = play(program, &mut answer);
        match u64::try_from(request.timeout) {
            Ok(0) | Err(_) => played.await,
            Ok(seconds) => {
                let limit = Duration::from_secs(seconds);
                tokio::time::timeout(limit, played).await.map_err(|_| timed_out(limit))?;
            }
        }
        Ok(answer)
    }

    fn exec_program(&self, request: &ExecSyncRequest) -> Result<Program, Status> {
        let subject =
            lock(&self.inner.state).running_container(&request.container_id).map(Container::subject);
        let subject = subject.map_err(|status| {
            Status::new(status.code(), format!("failed to exec in container: {}", status.message()))
        })?;
        if let Some(script) = lock(&self.inner.scripts).execs.find(&subject) {
            return Ok(of_script(&script));
        }
        interpret(&request.cmd, Unknown::NotFound).ok_or_else(|| {
            let name = request.cmd.first().map_or("", String::as_str);
            Status::unknown(format!(
                "failed to exec in container: failed to start exec: OCI runtime exec failed: exec failed: unable to \
                 start container process: exec: \"{name}\": executable file not found in $PATH: unknown"
            ))
        })
    }
}

fn timed_out(limit: Duration) -> Status {
    Status::deadline_exceeded(format!(
        "failed to exec in container: timeout {}s exceeded: context deadline exceeded",
        limit.as_secs()
    ))
}

fn of_script(script: &ExecScript) -> Program {
    let print = |stream, text: &str| Step::Print(Output { stream, text: text.to_owned() });
    Program::of_steps(vec![
        print(Stream::Stdout, &script.stdout),
        print(Stream::Stderr, &script.stderr),
        Step::Sleep(script.takes),
        Step::Exit(script.exit_code),
    ])
}

async fn play(program: Program, answer: &mut ExecSyncResponse) {
    let mut player = Player::new(program.steps);
    loop {
        match player.advance() {
            Step::Print(Output { stream: Stream::Stdout, text }) => answer.stdout.extend(text.into_bytes()),
            Step::Print(Output { stream: Stream::Stderr, text }) => answer.stderr.extend(text.into_bytes()),
            Step::Sleep(time) if time.is_zero() => {}
            Step::Sleep(time) => tokio::time::sleep(time).await,
            Step::Forever | Step::Loop(_) => std::future::pending().await,
            Step::Exit(code) => {
                answer.exit_code = code;
                return;
            }
        }
    }
}
