//! Asks a program: question on its standard input, answer on its standard output, one minute at most. It gets the
//! variables of this process, and no other open file than those three.

use std::path::Path;
use std::process::{ExitStatus, Stdio};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use super::DEADLINE;
use super::account::Identity;
use super::attributes::Cache;
use super::config::Provider;
use super::wire::{self, Answer, NoAnswer};

/// Longest answer.
const MAX_ANSWER: u64 = 1 << 20;

/// Why there is no answer. What the program printed is not told, not even on its standard error.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExecError {
    #[error("failed to run the program")]
    Run(#[source] std::io::Error),
    #[error("the program ended with {0}; it printed {1} bytes of errors, which are not shown")]
    Ended(ExitStatus, usize),
    #[error("the program did not end within {} s", DEADLINE.as_secs())]
    Late,
    #[error("failed to use what the program printed")]
    Answer(#[from] NoAnswer),
    #[error("the program answered with the pod's own token, which is good for cacheType: Token only")]
    Echo,
}

/// Asks about a repository, for a pod if the program is to know for which.
pub(super) async fn ask(
    provider: &Provider,
    program: &Path,
    repository: &str,
    identity: Option<&Identity>,
) -> Result<Answer, ExecError> {
    let mut child = Command::new(program)
        .args(&provider.args)
        .envs(provider.env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(ExecError::Run)?;
    let question = wire::request(provider.version, repository, identity);
    let group = Group(child.id());
    let spoken = tokio::time::timeout(DEADLINE, speak(&mut child, &question)).await;
    // What it may have started does not outlive it.
    drop(group);
    let (answer, errors, status) = spoken.map_err(|_elapsed| ExecError::Late)?.map_err(ExecError::Run)?;
    if !status.success() {
        return Err(ExecError::Ended(status, errors));
    }
    let answer = wire::answer(provider.version, &answer)?;
    if provider.token.as_ref().is_some_and(|token| token.cache != Cache::Token) && echoes(&answer, identity) {
        return Err(ExecError::Echo);
    }
    Ok(answer)
}

/// A token ends with its pod: it is nothing to keep for others.
fn echoes(answer: &Answer, identity: Option<&Identity>) -> bool {
    let is_token = |password: &String| identity.is_some_and(|pod| pod.token.bytes() == password.as_bytes());
    answer.logins.iter().any(|(_, _, password)| is_token(password))
}

async fn speak(child: &mut Child, question: &[u8]) -> std::io::Result<(Vec<u8>, usize, ExitStatus)> {
    let (input, output, errors) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let ask = async {
        if let Some(mut input) = input {
            // One that does not read its question may answer all the same.
            let _unread = input.write_all(question).await;
        }
    };
    let ((), answer, errors) = tokio::join!(ask, all(output), all(errors));
    let status = child.wait().await?;
    Ok((answer?, errors?.len(), status))
}

async fn all(from: Option<impl AsyncRead + Unpin>) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(from) = from {
        from.take(MAX_ANSWER).read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

/// The processes of a program; dropping it ends those that are left.
struct Group(Option<u32>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(id) = self.0.and_then(|id| i32::try_from(id).ok()) {
            // None is left, most often.
            let _gone = killpg(Pid::from_raw(id), Signal::SIGKILL);
        }
    }
}
