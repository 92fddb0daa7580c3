//! Serves the fake runtime on a Unix socket until SIGTERM or SIGINT, so that crictl and critest can talk to it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use pinnace_cri::fake::{Fake, Logs, Options, PullScript, Select};
use tokio::signal::unix::{SignalKind, signal};

const USAGE: &str = "usage: fake-cri --socket PATH [--root DIRECTORY] [--image NAME]...
  --socket  Unix socket to serve on; a file left there is replaced
  --root    directory under which relative log directories are taken (default: /tmp/fake-cri)
  --image   an image that is there from the start; may be given more than once";

/// How long a pull takes: enough that a client with a shorter deadline gives up.
const PULL_TAKES: Duration = Duration::from_millis(20);

/// What the command line asks for.
struct Arguments {
    socket: PathBuf,
    root: PathBuf,
    images: Vec<String>,
}

fn arguments(mut words: impl Iterator<Item = String>) -> Option<Arguments> {
    let mut socket = None;
    let mut root = PathBuf::from("/tmp/fake-cri");
    let mut images = Vec::new();
    while let Some(flag) = words.next() {
        match (flag.as_str(), words.next()) {
            ("--socket", Some(path)) => socket = Some(PathBuf::from(path)),
            ("--root", Some(path)) => root = PathBuf::from(path),
            ("--image", Some(name)) => images.push(name),
            _ => return None,
        }
    }
    Some(Arguments { socket: socket?, root, images })
}

async fn serve(arguments: Arguments) -> std::io::Result<()> {
    let mut options = Options { logs: Logs::Files, root: arguments.root, ..Options::default() };
    options.wall_base = wall_now();
    options.images.extend(arguments.images);
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let fake = Fake::new(options);
    fake.script_pull(Select::any(), PullScript { takes: PULL_TAKES, error: None });
    let server = fake.serve_unix(&arguments.socket).await?;
    println!("serving on {}", server.path().display());
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    server.stop().await;
    Ok(())
}

/// Wall nanoseconds since 1970.
#[expect(clippy::disallowed_methods, reason = "this program runs by the real clock")]
fn wall_now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.ok().and_then(|since| i64::try_from(since.as_nanos()).ok()).unwrap_or(0)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Some(arguments) = arguments(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match serve(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("failed to serve: {error}");
            ExitCode::FAILURE
        }
    }
}
