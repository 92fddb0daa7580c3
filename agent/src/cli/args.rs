//! The arguments of `pinnace`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::effective::DEFAULT_ADMIN_SOCKET;
use crate::config::flags::RunFlags;

/// Environment variable that names the admin socket, for those who run a second instance.
pub const SOCKET_VARIABLE: &str = "PINNACE_ADMIN_SOCKET";

/// Turns this machine into a Kubernetes node, and shows what it is doing
#[derive(Debug, Parser)]
#[command(name = "pinnace", version, propagate_version = true, disable_help_subcommand = true)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the agent; every other flag of kubelet 1.36 is taken too, and named in a warning if it has no effect
    Run(Box<RunFlags>),
    /// List the pods of this node
    Pods(ListArgs),
    /// List the containers of this node
    Containers(ListArgs),
    /// Show what a pod is doing, what it waits for, and what went wrong
    Explain(ExplainArgs),
    /// Print the log of a container
    Logs(LogsArgs),
    /// List what happened lately
    Events(ListArgs),
    /// Show what this machine lacks, and how to get it; needs no running agent
    Check(Box<CheckArgs>),
    /// Print the version
    Version(VersionArgs),
}

/// How an answer is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Table,
    /// For people with wide screens.
    Wide,
    /// For scripts.
    Json,
}

/// Where the agent is.
#[derive(Debug, Clone, Args)]
pub struct Reach {
    /// Socket of the agent [default: $PINNACE_ADMIN_SOCKET, or /run/pinnace/pinnace.sock]
    #[arg(long, value_name = "PATH")]
    admin_socket: Option<PathBuf>,
}

/// A list.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Output format
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    /// Only this namespace
    #[arg(short, long, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would print it as the description of the command")]
    pub reach: Reach,
}

/// One pod.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// namespace/name, name, or UID; the node's name at the end may be left out
    pub pod: String,
    /// Output format
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would print it as the description of the command")]
    pub reach: Reach,
}

/// A log.
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// namespace/name, name, or UID; the node's name at the end may be left out
    pub pod: String,
    /// Container, if the pod has more than one
    #[arg(short, long, value_name = "NAME")]
    pub container: Option<String>,
    /// The instance before the newest
    #[arg(short, long)]
    pub previous: bool,
    /// Go on until the container ends
    #[arg(short, long)]
    pub follow: bool,
    /// Only so many lines from the end
    #[arg(long, value_name = "LINES")]
    pub tail: Option<u64>,
    /// Put the time before every line
    #[arg(long)]
    pub timestamps: bool,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would print it as the description of the command")]
    pub reach: Reach,
}

/// The check of this machine. It takes the flags of `run`, to look at what that instance would use.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Output format
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    #[command(flatten)]
    #[expect(missing_docs, reason = "clap would print it as the description of the command")]
    pub flags: RunFlags,
}

/// The version.
#[derive(Debug, Args)]
pub struct VersionArgs {
    /// Output format
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

impl Reach {
    /// The socket: the flag, else the environment's, else the default.
    #[must_use]
    pub fn socket(&self, environment: Option<OsString>) -> PathBuf {
        let told = self.admin_socket.clone();
        told.or_else(|| environment.filter(|path| !path.is_empty()).map(PathBuf::from))
            .unwrap_or_else(|| PathBuf::from(DEFAULT_ADMIN_SOCKET))
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn commands_are_read() {
        let parse = |args: &[&str]| Arguments::try_parse_from(args).map_err(|error| error.to_string());
        let logs = parse(&["pinnace", "logs", "web", "-c", "a", "--tail=5", "-f", "--previous"]).unwrap();
        let Command::Logs(logs) = logs.command else { panic!("{logs:?}") };
        assert_eq!((logs.pod.as_str(), logs.container.as_deref(), logs.tail), ("web", Some("a"), Some(5)));
        assert!(logs.follow && logs.previous && !logs.timestamps);
        assert!(parse(&["pinnace", "logs"]).unwrap_err().contains("<POD>"));
        assert!(parse(&["pinnace", "pods", "-o", "yaml"]).unwrap_err().contains("possible values"));
        assert!(
            matches!(parse(&["pinnace", "run", "-v4"]).unwrap().command, Command::Run(f) if f.verbosity == Some(4))
        );
    }

    #[test]
    fn flag_then_environment_then_default_name_the_socket() {
        let none = Reach { admin_socket: None };
        let told = Reach { admin_socket: Some("/a".into()) };
        assert_eq!(told.socket(Some("/b".into())), PathBuf::from("/a"));
        assert_eq!(none.socket(Some("/b".into())), PathBuf::from("/b"));
        assert_eq!(none.socket(Some("".into())), PathBuf::from(DEFAULT_ADMIN_SOCKET));
        assert_eq!(none.socket(None), PathBuf::from(DEFAULT_ADMIN_SOCKET));
    }
}
