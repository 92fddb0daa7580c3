//! The agent as a process of its own that can die at a chosen point: this test program again, told by its
//! environment. It is wired as on a real machine, with the decorators of [`super::points`] at the seams and
//! periods divided by [`FACTOR`].

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::resource::{Resource, setrlimit};
use pinnace::app::{self, Parts};
use pinnace::cli::log_output;
use pinnace::clock::Clock;
use pinnace::config::flags::LogFormat;
use pinnace::disk::Disk;
use pinnace::events::EventLog;
use pinnace::journal::{Journal, Opened};
use pinnace::pod::container::Site;
use pinnace::pod::mind::Pace;
use pinnace::pod::paths::Dirs;
use pinnace::pod::resources::Node;
use pinnace::pod::security::Defaults;
use pinnace::server::admin::Admin;
use pinnace::server::views::Views;
use pinnace::source::desired::Desired;
use pinnace::source::files::{self, Files};
use pinnace::supervise::Supervisor;
use pinnace_cri::client::{Client, Deadlines, layered, unix};
use pinnace_cri::labels::Ownership;
use pinnace_pleg::relist;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::points::{FatalDisk, FatalTransport, Points};

/// Set for a process that is to be the agent; its value is the directory of the run.
pub const RUN_DIR: &str = "PINNACE_TEST_CRASH_DIR";
/// The number of the point at which it dies; it lives if unset.
pub const FATAL_POINT: &str = "PINNACE_TEST_CRASH_POINT";
/// Name of the node.
pub const NODE: &str = "node1";

/// Periods are divided by this.
const FACTOR: u32 = 100;
/// Deadlines are divided by less: on a busy machine a call may take 100 ms, and a deadline that is missed for that
/// reason is another test's subject.
const DEADLINE_FACTOR: u32 = 10;

/// Where the parts of one run are.
#[derive(Debug, Clone)]
pub struct Places(pub PathBuf);

impl Places {
    pub fn root(&self) -> PathBuf {
        self.0.join("root")
    }

    pub fn journal(&self) -> PathBuf {
        self.root().join("pinnace").join("journal")
    }

    pub fn logs(&self) -> PathBuf {
        self.0.join("logs")
    }

    pub fn links(&self) -> PathBuf {
        self.0.join("links")
    }

    pub fn manifests(&self) -> PathBuf {
        self.0.join("manifests")
    }

    pub fn runtime(&self) -> PathBuf {
        self.0.join("cri.sock")
    }

    pub fn admin(&self) -> PathBuf {
        self.0.join("admin.sock")
    }

    pub fn points(&self) -> PathBuf {
        self.0.join("points")
    }

    pub fn output(&self) -> PathBuf {
        self.0.join("agent.log")
    }
}

/// Is the agent until it is killed.
pub fn run(dir: &Path) {
    // What is killed on purpose hundreds of times leaves no core files.
    setrlimit(Resource::RLIMIT_CORE, 0, 0).unwrap();
    end_with_the_parent();
    log_output::install(LogFormat::Text, 4);
    let fatal = std::env::var(FATAL_POINT).ok().map(|point| point.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(agent(Places(dir.to_owned()), fatal));
}

/// A parent that was killed closes the pipe: no agent is left behind.
fn end_with_the_parent() {
    std::thread::spawn(|| {
        let _end_of_input = std::io::stdin().read(&mut [0]);
        std::process::abort();
    });
}

async fn agent(places: Places, fatal: Option<u64>) {
    let points = Arc::new(Points::new(fatal, &places.points()).unwrap());
    let disk: Arc<dyn Disk> = Arc::new(FatalDisk { points: Arc::clone(&points) });
    let (supervisor, supervision) = Supervisor::new(CancellationToken::new());
    let clock = Clock::of_this_machine().unwrap();
    let journal = (Arc::clone(&disk), places.journal());
    let opened = tokio::task::spawn_blocking(|| Journal::open(journal.0, journal.1)).await.unwrap();
    let desired = manifests(&places, &clock, &opened, &supervisor);
    let board = app::start(parts(&places, points, disk, clock), opened, desired, &supervisor);
    let views: Arc<dyn Views> = Arc::new(board);
    let admin = Admin::bind(&places.admin(), views).await.unwrap();
    supervisor.spawn_core("admin socket", admin.run(supervisor.stop_token()));
    supervision.wait().await.unwrap();
}

fn manifests(
    places: &Places,
    clock: &Clock,
    opened: &Opened,
    supervisor: &Supervisor,
) -> watch::Receiver<Arc<Desired>> {
    let (out, desired) = watch::channel(Arc::new(Desired::default()));
    let going_on = opened.histories.values().filter(|history| history.termination.is_none());
    let admitted = going_on.filter_map(|history| history.admitted.clone()).collect();
    let period = Duration::from_secs(20) / FACTOR;
    let config = files::Config { path: places.manifests(), period, node: NODE.to_owned() };
    let files = Files::new(config, clock.clone(), admitted, out);
    supervisor.spawn_core("manifests", files.run(supervisor.stop_token()));
    desired
}

fn parts(places: &Places, points: Arc<Points>, disk: Arc<dyn Disk>, clock: Clock) -> Parts {
    let endpoint = places.runtime().display().to_string();
    let inner = unix(&endpoint).unwrap();
    let transport = layered(FatalTransport { inner, points });
    let (pace, relist) = (Pace::default(), relist::Config::default());
    Parts {
        node: NODE.to_owned(),
        ownership: Ownership::Node(NODE.to_owned()),
        client: Client::with_transport(transport, Deadlines::default().scaled(DEADLINE_FACTOR)),
        endpoint,
        disk,
        clock,
        dirs: Dirs { root: places.root(), pod_logs: places.logs(), container_logs: Some(places.links()) },
        site: Site {
            owner: NODE.to_owned(),
            node: Node { memory: 4 << 30, cfs_period: Some(100_000), ..Node::default() },
            security: Defaults::bare(places.root().join("seccomp")),
            dns: pinnace::pod::dns::Settings::default(),
        },
        pace: Pace {
            retry: pace.retry / FACTOR,
            retry_cap: pace.retry_cap / FACTOR,
            reserved: pace.reserved / FACTOR,
            reserved_again: pace.reserved_again / FACTOR,
            pull: pace.pull / FACTOR,
            pull_cap: pace.pull / FACTOR,
            volumes: pace.volumes / FACTOR,
            volumes_cap: pace.volumes_cap / FACTOR,
            backoff_cap: Duration::from_secs(10) / FACTOR,
        },
        relist: relist::Config {
            call_deadline: relist.call_deadline / DEADLINE_FACTOR,
            list_deadline: relist.list_deadline / DEADLINE_FACTOR,
            ..relist
        },
        runtime_period: Duration::from_secs(5) / FACTOR,
        images: pinnace::image::Settings::default(),
        events: EventLog::default(),
        objects: pinnace::objects::Objects::default(),
        classes: pinnace::runtime::class::RuntimeClasses::default(),
        cgroups: pinnace::cgroup::Cgroups::default(),
        place: tokio::sync::watch::channel(Arc::new(pinnace::pod::admit::Place::bare(NODE, 110))).1,
        ids_per_pod: 65_536,
        cpus: 2,
    }
}
