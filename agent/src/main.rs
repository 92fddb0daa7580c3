//! The binary `pinnace`: reads the command line, hands over, and turns the outcome into an exit code.

use std::io::{Write, stderr, stdout};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind;
use pinnace::api::kubeconfig;
use pinnace::chain::Chain;
use pinnace::check;
use pinnace::check::observe::{Targets, observe};
use pinnace::cli::args::{CheckArgs, Command, Reach, SOCKET_VARIABLE};
use pinnace::cli::client::ClientError;
use pinnace::cli::command::{self, Terminal, error_line};
use pinnace::cli::command_line::{self, Asked};
use pinnace::cli::{exit, log_output};
use pinnace::clock::Clock;
use pinnace::config::effective::Config;
use pinnace::config::flags::RunFlags;
use pinnace::config::load::{Loaded, load};
use pinnace::lock::LockError;
use pinnace::node::object::KUBELET_VERSION;
use pinnace::runtime::probe;
use pinnace::start::StartError;

/// How long file operations may go on after everything else has ended.
const SHUTDOWN: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    let code = match command_line::read(std::env::args_os()) {
        Ok(Asked::To(arguments)) => dispatch(arguments.command),
        Ok(Asked::KubeletVersion) => kubelet_version(),
        Err(error) => usage(&error),
    };
    ExitCode::from(code)
}

fn usage(error: &clap::Error) -> u8 {
    // Nothing is left to be told if this fails.
    let _ = error.print();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => exit::OK,
        _ => exit::USAGE,
    }
}

/// As the kubelet prints it: installers read the version from there.
fn kubelet_version() -> u8 {
    match writeln!(stdout(), "Kubernetes {KUBELET_VERSION}") {
        Ok(()) => exit::OK,
        Err(_) => exit::FAILURE,
    }
}

fn dispatch(command: Command) -> u8 {
    match command {
        Command::Run(flags) => run(&flags),
        Command::Check(args) => in_runtime(check_machine(&args)),
        other => in_runtime(ask(other)),
    }
}

/// Runs a short command to its end, on one thread.
fn in_runtime(command: impl Future<Output = Result<u8, ClientError>>) -> u8 {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(&format!("failed to start: {error}"), exit::FAILURE),
    };
    runtime.block_on(command).unwrap_or_else(|error| match error_line(&error) {
        Some(line) => {
            let _ = writeln!(stderr(), "{line}");
            error.exit_code()
        }
        None => exit::OK,
    })
}

/// Commands that ask the agent, and `version`.
async fn ask(command: Command) -> Result<u8, ClientError> {
    let (mut out, mut err) = (stdout().lock(), stderr().lock());
    let now = Clock::of_this_machine().map_err(ClientError::Output)?.now().wall;
    let mut to = Terminal { out: &mut out, err: &mut err, now };
    let socket = |reach: &Reach| reach.socket(std::env::var_os(SOCKET_VARIABLE));
    match command {
        Command::Pods(args) => command::pods(&socket(&args.reach), &args, &mut to).await?,
        Command::Containers(args) => command::containers(&socket(&args.reach), &args, &mut to).await?,
        Command::Events(args) => command::events(&socket(&args.reach), &args, &mut to).await?,
        Command::Explain(args) => command::explain(&socket(&args.reach), &args, &mut to).await?,
        Command::Logs(args) => command::logs(&socket(&args.reach), &args, &mut to).await?,
        Command::Version(args) => command::version(&args, &mut to)?,
        // Dispatched before.
        Command::Run(_) | Command::Check(_) => {}
    }
    Ok(exit::OK)
}

async fn check_machine(args: &CheckArgs) -> Result<u8, ClientError> {
    let Loaded { config, .. } = match configuration(&args.flags) {
        Ok(loaded) => loaded,
        Err(reason) => return Ok(complain(&reason, exit::CONFIG)),
    };
    let now = Clock::of_this_machine().map_err(ClientError::Output)?.now().wall;
    let is_virtual = config.node.is_virtual;
    let answer = probe::ask(&config.runtime_endpoint, is_virtual).await;
    let ports = listeners(&config);
    let targets = Targets {
        root_dir: config.root_dir,
        runtime_socket: config.runtime_endpoint,
        admin_socket: config.admin_socket,
        is_virtual,
        ports,
    };
    let mut findings = check::findings(&observe(&targets, now), &answer);
    if let Some(kubeconfig) = &config.kubeconfig {
        findings.push(check::cluster::kubeconfig(&kubeconfig::load(kubeconfig, now).await));
    }
    let (mut out, mut err) = (stdout().lock(), stderr().lock());
    let mut to = Terminal { out: &mut out, err: &mut err, now };
    let can_run = command::checks(&findings, args.output, &mut to)?;
    Ok(if can_run { exit::OK } else { exit::CHECK_FAILED })
}

/// Ports that the agent will listen on.
fn listeners(config: &Config) -> Vec<u16> {
    let https = config.serving.as_ref().map(|serving| serving.address);
    [config.healthz, https, config.read_only].into_iter().flatten().map(|address| address.port()).collect()
}

/// `pinnace run`.
fn run(flags: &RunFlags) -> u8 {
    pinnace::inherited::close();
    // No file of the agent's is ever readable for others, whatever umask it was started with.
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o027));
    let Loaded { config, warnings } = match configuration(flags) {
        Ok(loaded) => loaded,
        Err(reason) => return complain(&reason, exit::CONFIG),
    };
    log_output::install(config.log_format, config.verbosity);
    for warning in warnings {
        tracing::warn!("configuration: {warning}");
    }
    // Two threads: one may be busy with a large list while the other answers health checks.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    match runtime {
        Ok(runtime) => {
            let code = runtime.block_on(start(config));
            // A file operation that hangs on a dead disk must not keep the process from ending.
            runtime.shutdown_timeout(SHUTDOWN);
            code
        }
        Err(error) => complain(&format!("failed to start: {error}"), exit::FAILURE),
    }
}

/// Runs the agent to its end.
async fn start(config: Config) -> u8 {
    match pinnace::start::run(config).await {
        Ok(()) => exit::OK,
        Err(error) => complain(&Chain(&error).to_string(), exit_code(&error)),
    }
}

/// Exit codes by cause, for init systems and scripts.
fn exit_code(error: &StartError) -> u8 {
    match error {
        StartError::Lock(LockError::Held { .. }) => exit::ALREADY_RUNNING,
        StartError::Admin(error) if error.is_in_use() => exit::ALREADY_RUNNING,
        StartError::Endpoint(_) | StartError::Providers(_) => exit::CONFIG,
        StartError::Refused(_) => exit::NODE_REFUSED,
        _ => exit::FAILURE,
    }
}

/// The configuration, or why there is none, one line per fault.
fn configuration(flags: &RunFlags) -> Result<Loaded, String> {
    let hostname =
        nix::unistd::gethostname().map_err(|code| format!("failed to read the host name: {code}"))?;
    let directory: PathBuf =
        std::env::current_dir().map_err(|error| format!("failed to find the working directory: {error}"))?;
    load(flags, &hostname.to_string_lossy(), &directory).map_err(|errors| errors.to_string())
}

/// Prints what is wrong, every line with the program's name, and passes the exit code on.
fn complain(reason: &str, code: u8) -> u8 {
    for line in reason.lines() {
        let _ = writeln!(stderr(), "pinnace: {line}");
    }
    code
}
