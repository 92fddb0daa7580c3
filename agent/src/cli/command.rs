//! What each command does: asks, then prints. `run` is not here; it is `main`'s.

use std::io::{self, Write};
use std::path::Path;

use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::args::{ExplainArgs, ListArgs, LogsArgs, Output, VersionArgs};
use super::client::{Client, ClientError};
use super::table::clean;
use super::{explain, list, query};
use crate::view::{CheckLevel, CheckView, ContainerView, EventView, ExplainView, PodView};

/// What a command works with.
pub struct Terminal<'a> {
    /// For the answer.
    pub out: &'a mut dyn Write,
    /// For what is beside it.
    pub err: &'a mut dyn Write,
    /// The clock, for ages.
    pub now: Timestamp,
}

/// `pinnace pods`.
pub async fn pods(socket: &Path, args: &ListArgs, to: &mut Terminal<'_>) -> Result<(), ClientError> {
    let client = Client::new(socket);
    let in_namespace = |pod: &PodView| args.namespace.as_ref().is_none_or(|wanted| *wanted == pod.namespace);
    let pods: Vec<PodView> = listed(&client, "/v1/pods", in_namespace).await?;
    let problems: Vec<String> = client.json("/v1/problems").await?;
    let wide = args.output == Output::Wide;
    print(args.output, &pods, to, |now| list::pods(&pods, wide, now))?;
    if args.output != Output::Json {
        if pods.is_empty() {
            writeln!(to.err, "no pods here").map_err(ClientError::Output)?;
        }
        for problem in problems {
            writeln!(to.err, "warning: {}", clean(&problem)).map_err(ClientError::Output)?;
        }
    }
    Ok(())
}

/// `pinnace containers`.
pub async fn containers(socket: &Path, args: &ListArgs, to: &mut Terminal<'_>) -> Result<(), ClientError> {
    let in_namespace = |container: &ContainerView| {
        args.namespace.as_ref().is_none_or(|wanted| *wanted == container.namespace)
    };
    let containers: Vec<ContainerView> = listed(&Client::new(socket), "/v1/containers", in_namespace).await?;
    let wide = args.output == Output::Wide;
    print(args.output, &containers, to, |now| list::containers(&containers, wide, now))
}

/// `pinnace events`.
pub async fn events(socket: &Path, args: &ListArgs, to: &mut Terminal<'_>) -> Result<(), ClientError> {
    let in_namespace = |event: &EventView| {
        let namespace = event.object.split_once('/').map(|(namespace, _)| namespace);
        args.namespace.as_ref().is_none_or(|wanted| Some(wanted.as_str()) == namespace)
    };
    let events: Vec<EventView> = listed(&Client::new(socket), "/v1/events", in_namespace).await?;
    print(args.output, &events, to, |now| list::events(&events, now))
}

/// `pinnace explain`.
pub async fn explain(socket: &Path, args: &ExplainArgs, to: &mut Terminal<'_>) -> Result<(), ClientError> {
    let path = query::path("/v1/explain", &[("pod", &args.pod)]);
    let view: ExplainView = Client::new(socket).json(&path).await?;
    print(args.output, &view, to, |now| explain::page(&view, now))
}

/// `pinnace logs`.
pub async fn logs(socket: &Path, args: &LogsArgs, to: &mut Terminal<'_>) -> Result<(), ClientError> {
    Client::new(socket).copy(&logs_path(args), to.out).await
}

fn logs_path(args: &LogsArgs) -> String {
    let tail = args.tail.map(|lines| lines.to_string());
    let mut parameters = vec![("pod", args.pod.as_str())];
    parameters.extend(args.container.as_deref().map(|container| ("container", container)));
    parameters.extend(tail.as_deref().map(|lines| ("tail", lines)));
    let switches = [("previous", args.previous), ("follow", args.follow), ("timestamps", args.timestamps)];
    parameters.extend(switches.iter().filter(|(_, on)| *on).map(|(name, _)| (*name, "true")));
    query::path("/v1/logs", &parameters)
}

/// `pinnace check`: prints the findings and tells whether pods can run.
pub fn checks(findings: &[CheckView], output: Output, to: &mut Terminal<'_>) -> Result<bool, ClientError> {
    print(output, &findings, to, |_| list::checks(findings))?;
    Ok(findings.iter().all(|finding| finding.level < CheckLevel::Error))
}

/// `pinnace version`.
pub fn version(args: &VersionArgs, to: &mut Terminal<'_>) -> Result<(), ClientError> {
    let version = env!("CARGO_PKG_VERSION");
    let view = serde_json::json!({ "version": version });
    print(args.output, &view, to, |_| format!("pinnace {version}\n"))
}

async fn listed<T: DeserializeOwned>(
    client: &Client,
    path: &str,
    wanted: impl Fn(&T) -> bool,
) -> Result<Vec<T>, ClientError> {
    let mut list: Vec<T> = client.json(path).await?;
    list.retain(wanted);
    Ok(list)
}

fn print<T: Serialize>(
    output: Output,
    value: &T,
    to: &mut Terminal<'_>,
    text: impl FnOnce(Timestamp) -> String,
) -> Result<(), ClientError> {
    let text = match output {
        Output::Table | Output::Wide => text(to.now),
        Output::Json => {
            let json =
                serde_json::to_string_pretty(value).map_err(|error| ClientError::Output(error.into()))?;
            format!("{json}\n")
        }
    };
    to.out.write_all(text.as_bytes()).and_then(|()| to.out.flush()).map_err(ClientError::Output)
}

/// One line for an error: the chain of its causes, then what to do. None if the reader of the output is gone,
/// as after `pinnace logs | head`.
#[must_use]
pub fn error_line(error: &ClientError) -> Option<String> {
    if matches!(error, ClientError::Output(source) if source.kind() == io::ErrorKind::BrokenPipe) {
        return None;
    }
    let mut line = format!("pinnace: {error}");
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        line.push_str(&format!(": {}", cause_text(cause)));
        source = cause.source();
    }
    if let Some(hint) = error.hint() {
        line.push_str(&format!("; {hint}"));
    }
    Some(clean(&line))
}

/// The words of the kind for an input or output error of the system: shorter than its own text.
fn cause_text(cause: &(dyn std::error::Error + 'static)) -> String {
    match cause.downcast_ref::<io::Error>() {
        Some(error) if error.kind() == io::ErrorKind::NotFound => "no such socket".to_owned(),
        Some(error) if error.raw_os_error().is_some() => error.kind().to_string(),
        _ => cause.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unreachable(code: i32) -> String {
        let source = io::Error::from_raw_os_error(code);
        let path = "/run/pinnace/pinnace.sock".into();
        error_line(&ClientError::Unreachable { path, source }).unwrap()
    }

    #[test]
    fn an_unreachable_agent_says_what_to_do() {
        let hint = "is it running? start it with `systemctl start pinnace` or `pinnace run`, or name its \
            socket with --admin-socket";
        let at = "pinnace: cannot reach the agent at /run/pinnace/pinnace.sock";
        assert_eq!(unreachable(111), format!("{at}: connection refused; {hint}"));
        assert_eq!(unreachable(2), format!("{at}: no such socket; {hint}"));
        assert_eq!(unreachable(13), format!("{at}: permission denied; only root may ask; try sudo"));
    }

    #[test]
    fn a_reader_that_left_is_no_error() {
        assert_eq!(error_line(&ClientError::Output(io::ErrorKind::BrokenPipe.into())), None);
        assert!(error_line(&ClientError::Output(io::ErrorKind::StorageFull.into())).is_some());
    }
}
