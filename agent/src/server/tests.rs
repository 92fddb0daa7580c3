//! Both servers on real sockets, asked by the real client, in front of a fake agent.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::admin::Admin;
use super::fake::FakeViews;
use super::healthz::Healthz;
use crate::cli::args::{Arguments, Command};
use crate::cli::client::{Client, ClientError};
use crate::cli::command::{self, Terminal, error_line};
use crate::cli::exit;
use crate::view::PodView;

/// How long a condition may take on a busy machine.
const DEADLINE: Duration = Duration::from_secs(20);

/// Both servers, running.
struct Servers {
    views: Arc<FakeViews>,
    socket: PathBuf,
    health: SocketAddr,
    stop: CancellationToken,
    tasks: JoinSet<()>,
    dir: tempfile::TempDir,
}

async fn servers() -> Servers {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("run/pinnace.sock");
    let views = Arc::new(FakeViews::default());
    let admin = Admin::bind(&socket, views.clone()).await.unwrap();
    let healthz = Healthz::bind("127.0.0.1:0".parse().unwrap(), views.clone()).await.unwrap();
    let health = healthz.address().unwrap();
    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    tasks.spawn(admin.run(stop.clone()));
    tasks.spawn(healthz.run(stop.clone()));
    Servers { views, socket, health, stop, tasks, dir }
}

impl Servers {
    async fn finish(mut self) {
        self.stop.cancel();
        let joined = async { while self.tasks.join_next().await.is_some() {} };
        tokio::time::timeout(Duration::from_secs(5), joined).await.expect("servers end within 5 s of stop");
        assert!(!self.socket.exists(), "the socket file goes with its server");
    }

    /// A log file that starts with `lines` in the CRI format.
    fn log(&self, lines: &[&str]) -> PathBuf {
        let path = self.dir.path().join("0.log");
        append(&path, lines);
        path
    }
}

fn append(path: &Path, lines: &[&str]) {
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
    for line in lines {
        writeln!(file, "2026-11-21T10:00:00Z stdout F {line}").unwrap();
    }
}

/// What a whole request gets: the status line's code and the body.
async fn http(address: SocketAddr, request: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let read = tokio::time::timeout(DEADLINE, stream.read_to_string(&mut answer)).await;
    read.expect("an answer in time").unwrap();
    let code = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (code, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

/// A command line, run against the socket: exit code, standard output, standard error.
async fn pinnace(socket: &Path, args: &[&str]) -> (u8, String, String) {
    let path = socket.display().to_string();
    let all = [&["pinnace"], args, &["--admin-socket", &path]].concat();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let now = jiff::Timestamp::from_second(1_100).unwrap();
    let mut to = Terminal { out: &mut out, err: &mut err, now };
    let environment = || None;
    let done = match <Arguments as clap::Parser>::try_parse_from(all).unwrap().command {
        Command::Pods(args) => command::pods(&args.reach.socket(environment()), &args, &mut to).await,
        Command::Containers(args) => {
            command::containers(&args.reach.socket(environment()), &args, &mut to).await
        }
        Command::Explain(args) => command::explain(&args.reach.socket(environment()), &args, &mut to).await,
        Command::Events(args) => command::events(&args.reach.socket(environment()), &args, &mut to).await,
        Command::Logs(args) => command::logs(&args.reach.socket(environment()), &args, &mut to).await,
        other => panic!("{other:?} does not ask the agent"),
    };
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    match done {
        Ok(()) => (exit::OK, text(out), text(err)),
        Err(error) => (error.exit_code(), text(out), error_line(&error).unwrap_or_default()),
    }
}

/// A writer whose content can be looked at while it is written to.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Shared {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    async fn becomes(&self, wanted: &str) {
        let equal = async {
            while self.text() != wanted {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let waited = tokio::time::timeout(DEADLINE, equal).await;
        assert!(waited.is_ok(), "wanted {wanted:?}, is {:?}", self.text());
    }
}

/// Follows a log in a task of its own.
fn follow(tasks: &mut JoinSet<Result<(), ClientError>>, socket: &Path, pod: &str) -> Shared {
    let (shared, client, path) =
        (Shared::default(), Client::new(socket), format!("/v1/logs?pod={pod}&follow=true"));
    let mut out = shared.clone();
    tasks.spawn(async move { client.copy(&path, &mut out).await });
    shared
}

#[tokio::test]
async fn a04_healthz_answers_its_three_paths_and_nothing_else() {
    let servers = servers().await;
    for path in ["/healthz", "/livez", "/readyz"] {
        assert_eq!(http(servers.health, &format!("GET {path}")).await, (200, "ok".to_owned()));
        assert_eq!(http(servers.health, &format!("HEAD {path}")).await, (200, String::new()));
        assert_eq!(http(servers.health, &format!("POST {path}")).await.0, 405);
    }
    for path in ["/", "/debug/pprof/", "/metrics", "/configz", "/flagz", "/healthz/", "/v1/pods", "/pods"] {
        assert_eq!(http(servers.health, &format!("GET {path}")).await, (404, String::new()), "{path}");
    }
    *servers.views.sick.lock().unwrap() = Some("the runtime does not answer".to_owned());
    assert_eq!(http(servers.health, "GET /healthz").await, (500, "the runtime does not answer".to_owned()));
    servers.finish().await;
}

#[tokio::test]
async fn silent_connections_lock_nobody_out() {
    let servers = servers().await;
    let mut silent = Vec::new();
    for _ in 0..200 {
        let mut stream = TcpStream::connect(servers.health).await.unwrap();
        stream.write_all(b"GET /heal").await.unwrap();
        silent.push(stream);
    }
    assert_eq!(http(servers.health, "GET /healthz").await.0, 200);
    let mut rest = Vec::new();
    let oldest = tokio::time::timeout(DEADLINE, silent[0].read_to_end(&mut rest)).await;
    assert!(oldest.is_ok(), "the oldest connection was closed");
    servers.finish().await;
}

#[tokio::test]
async fn commands_print_what_the_agent_says() {
    let servers = servers().await;
    servers.views.add("web", None);
    servers.views.add("db", None);
    servers.views.problems.lock().unwrap().push("/m/x.yaml: spec: is missing".to_owned());
    let (code, out, err) = pinnace(&servers.socket, &["pods"]).await;
    assert_eq!(code, exit::OK);
    assert_eq!(
        out,
        "NAMESPACE   NAME        READY   STATUS    RESTARTS   AGE\n\
         default     db-node1    1/1     Running   0          100s\n\
         default     web-node1   1/1     Running   0          100s\n"
    );
    assert_eq!(err, "warning: /m/x.yaml: spec: is missing\n");
    let (_, json, _) = pinnace(&servers.socket, &["pods", "-o", "json"]).await;
    let pods: Vec<PodView> = serde_json::from_str(&json).unwrap();
    assert_eq!(pods.len(), 2);
    let (_, out, err) = pinnace(&servers.socket, &["pods", "-n", "other"]).await;
    assert_eq!((out.lines().count(), err.lines().next()), (1, Some("no pods here")));
    let (_, out, _) = pinnace(&servers.socket, &["containers"]).await;
    assert!(out.contains("web-node1   main"), "{out}");
    let (code, out, _) = pinnace(&servers.socket, &["explain", "web"]).await;
    assert!(code == exit::OK && out.starts_with("Pod:        default/web-node1\n"), "{out}");
    servers.finish().await;
}

#[tokio::test]
async fn failures_have_their_exit_codes() {
    let servers = servers().await;
    servers.views.add("web", None);
    servers.views.add("web", None);
    let not_found = pinnace(&servers.socket, &["explain", "nope"]).await;
    assert_eq!((not_found.0, not_found.2.as_str()), (exit::NOT_FOUND, "pinnace: pod \"nope\" not found"));
    let ambiguous = pinnace(&servers.socket, &["logs", "web"]).await;
    assert_eq!(ambiguous.0, exit::NOT_FOUND);
    assert!(ambiguous.2.starts_with("pinnace: more than one matches"), "{}", ambiguous.2);
    let unreachable = pinnace(Path::new("/no/such.sock"), &["pods"]).await;
    assert_eq!(unreachable.0, exit::UNREACHABLE);
    assert!(
        unreachable.2.starts_with("pinnace: cannot reach the agent at /no/such.sock: no such socket; is it"),
        "{}",
        unreachable.2
    );
    servers.finish().await;
}

#[tokio::test]
async fn logs_are_decoded_and_cut_to_their_tail() {
    let servers = servers().await;
    let log = servers.log(&["one", "two", "three"]);
    servers.views.add("web", Some(log));
    assert_eq!(pinnace(&servers.socket, &["logs", "web"]).await.1, "one\ntwo\nthree\n");
    assert_eq!(pinnace(&servers.socket, &["logs", "uid-web", "--tail=1"]).await.1, "three\n");
    assert_eq!(
        pinnace(&servers.socket, &["logs", "default/web", "-c", "main", "--tail=1", "--timestamps"]).await.1,
        "2026-11-21T10:00:00.000000000Z three\n"
    );
    assert_eq!(pinnace(&servers.socket, &["logs", "web", "-c", "nope"]).await.0, exit::NOT_FOUND);
    servers.finish().await;
}

#[tokio::test]
async fn a_log_that_is_no_plain_file_is_refused() {
    let servers = servers().await;
    let target = servers.log(&["secret"]);
    let link = servers.dir.path().join("link.log");
    std::os::unix::fs::symlink(&target, &link).unwrap();
    let pipe = servers.dir.path().join("pipe.log");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    for (name, path) in [("link", link), ("pipe", pipe), ("dir", servers.dir.path().to_owned())] {
        servers.views.add(name, Some(path));
        let (code, out, err) = pinnace(&servers.socket, &["logs", name]).await;
        assert_eq!((code, out.as_str()), (exit::FAILURE, ""), "{name}");
        assert!(err.starts_with("pinnace: failed to open the log"), "{err}");
    }
    servers.views.add("gone", Some("/no/such/0.log".into()));
    assert_eq!(pinnace(&servers.socket, &["logs", "gone"]).await.0, exit::NOT_FOUND);
    servers.finish().await;
}

#[tokio::test]
async fn a_followed_log_goes_on_over_rotation_until_its_container_ends() {
    let servers = servers().await;
    let log = servers.log(&["one"]);
    servers.views.add("web", Some(log.clone()));
    let mut tasks = JoinSet::new();
    let seen = follow(&mut tasks, &servers.socket, "web");
    seen.becomes("one\n").await;
    append(&log, &["two"]);
    seen.becomes("one\ntwo\n").await;
    std::fs::rename(&log, servers.dir.path().join("0.log.old")).unwrap();
    append(&servers.dir.path().join("0.log.old"), &["three"]);
    append(&log, &["four"]);
    seen.becomes("one\ntwo\nthree\nfour\n").await;
    append(&log, &["five"]);
    servers.views.end_containers();
    let ended = tokio::time::timeout(DEADLINE, tasks.join_next()).await.expect("ends with its container");
    ended.unwrap().unwrap().unwrap();
    assert_eq!(seen.text(), "one\ntwo\nthree\nfour\nfive\n");
    servers.finish().await;
}

#[tokio::test]
async fn b41_stop_ends_open_streams_in_time() {
    let servers = servers().await;
    let log = servers.log(&["one"]);
    servers.views.add("web", Some(log));
    let mut tasks = JoinSet::new();
    let streams: Vec<Shared> = (0..20).map(|_| follow(&mut tasks, &servers.socket, "web")).collect();
    for stream in &streams {
        stream.becomes("one\n").await;
    }
    servers.finish().await;
    let joined = async { while tasks.join_next().await.is_some() {} };
    tokio::time::timeout(DEADLINE, joined).await.expect("readers see the end");
}

#[tokio::test]
async fn a_second_agent_is_refused_by_the_first_ones_socket() {
    let servers = servers().await;
    let second = Admin::bind(&servers.socket, servers.views.clone()).await;
    let error = second.err().expect("refused").to_string();
    assert_eq!(error, format!("an agent is already running at {}", servers.socket.display()));
    let taken = Healthz::bind(servers.health, servers.views.clone()).await.err().expect("refused");
    assert_eq!(taken.to_string(), format!("failed to listen on {} for /healthz", servers.health));
    servers.finish().await;
}
