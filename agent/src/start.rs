//! Starts the agent on a real machine from its configuration, and waits for its end.
//!
//! Order: lock the root directory, read the journal, make the loops, bind the servers, tell systemd. Nothing here
//! waits for the runtime: a runtime that is late, wrong or gone is a problem that is shown, and is tried again.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use pinnace_cri::client::{Client, Deadlines, InvalidEndpoint};
use pinnace_cri::labels::Ownership;
use pinnace_pleg::relist;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::app::{self, Parts};
use crate::board::Board;
use crate::check::cgroup;
use crate::clock::Clock;
use crate::config::effective::Config;
use crate::disk::{Disk, RealDisk};
use crate::events::EventLog;
use crate::host::enforcement::{self, Enforcement};
use crate::image::plugin::config::InvalidProviders;
use crate::journal::{Journal, Opened};
use crate::lock::{InstanceLock, LockError};
use crate::node::refusal::Refusal;
use crate::objects::Objects;
use crate::pod::admit::Place;
use crate::pod::container::Site;
use crate::pod::dns;
use crate::pod::mind::Pace;
use crate::pod::paths::Dirs;
use crate::pod::security::Defaults;
use crate::runtime::class::RuntimeClasses;
use crate::runtime::watch::PERIOD;
use crate::runtime::{advisory, strangers};
use crate::server::admin::Admin;
use crate::server::healthz::{BindError, Healthz};
use crate::server::https;
use crate::server::socket::SocketError;
use crate::server::views::Views;
use crate::source::desired::{Desired, Origin};
use crate::source::files::{self, Files};
use crate::supervise::{SuperviseError, Supervisor};
use crate::systemd::{Notifier, Watchdog};
use crate::view::CheckLevel;
use cluster::{Around, Cluster};
use resources::Limits;

mod alone;
mod cluster;
mod images;
mod place;
mod refusal;
mod resources;
mod tunables;

/// Where log collectors look, as the kubelet has it (`pkg/kubelet/kubelet.go`).
const CONTAINER_LOGS: &str = "/var/log/containers";

/// Why the agent does not run, or no longer.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another instance has the root directory, or it cannot be used.
    #[error("failed to lock the root directory")]
    Lock(#[from] LockError),
    /// The machine does not tell what is needed.
    #[error("failed to read {what}")]
    Machine {
        /// What was to be read.
        what: &'static str,
        /// The cause.
        source: std::io::Error,
    },
    /// The programs that know credentials for images cannot be used.
    #[error("failed to read --image-credential-provider-config")]
    Providers(#[from] InvalidProviders),
    /// The runtime's address is no address.
    #[error("failed to use the runtime endpoint")]
    Endpoint(#[from] InvalidEndpoint),
    /// The admin socket cannot be made.
    #[error("failed to serve the admin socket")]
    Admin(#[from] SocketError),
    /// The health port is taken.
    #[error("failed to serve /healthz; name another port with --healthz-port")]
    Healthz(#[from] BindError),
    /// The kubelet's API cannot be served.
    #[error(
        "failed to serve the kubelet's API; name another address with --port, or set enableServer: false"
    )]
    Https(#[from] https::HttpsError),
    /// The API server has a node of this name that cannot be this one.
    #[error("failed to take the node's name")]
    Refused(#[from] Refusal),
    /// `protectKernelDefaults` is set, and the kernel's settings are others.
    #[error("failed to find the kernel as protectKernelDefaults wants it: {0}")]
    Kernel(String),
    /// The runtime answers the question for its cgroup driver with errors.
    #[error("failed to learn the runtime's cgroup driver: {0}")]
    CgroupDriver(String),
    /// A loop was lost.
    #[error("failed to go on")]
    Lost(#[from] SuperviseError),
}

/// Runs until SIGTERM or SIGINT. Containers live on.
pub async fn run(config: Config) -> Result<(), StartError> {
    let is_new_root = !config.root_dir.join("pinnace").exists();
    let lock = InstanceLock::take(&config.root_dir)?;
    tunables::settle(&config)?;
    let notifier = Notifier::from_environment();
    let clock = Clock::of_this_machine().map_err(|source| machine("the boot id", source))?;
    let (supervisor, supervision) = Supervisor::new(CancellationToken::new());
    supervisor.spawn_core(
        "signals",
        until_signal(supervisor.stop_token()).map_err(|source| machine("signals", source))?,
    );

    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let opened = open_journal(Arc::clone(&disk), &config.root_dir).await?;
    let board = start(&config, &clock, &disk, opened, is_new_root, &supervisor).await?;
    let cgroups = board.cgroups.clone();
    let refused = board.membership.as_ref().map(|membership| membership.node.refused.clone());
    if let Some(refused) = refused.clone() {
        supervisor.spawn_core("refusal", refusal::stop_at(refused, supervisor.stop_token()));
    }
    let (runtime, events, stop) = (board.runtime.clone(), board.events.clone(), supervisor.stop_token());
    supervisor.spawn_core("advisories", advisory::tell(runtime, events.clone(), clock.clone(), stop));
    let (settings, stop) = (dns(&config), supervisor.stop_token());
    let told = dns::limits::tell(settings, Arc::clone(&disk), events, clock.clone(), stop);
    supervisor.spawn_core("resolver", told);
    serve(&config, board, &supervisor, &notifier, disk, clock).await?;
    tell_limits();
    tell_virtual(&config);
    tracing::info!(node = config.node_name, root = %config.root_dir.display(), "started");
    notifier.ready();
    let ended = supervision.wait().await;
    notifier.stopping();
    drop(lock);
    if let Some(refusal) = refused.and_then(|refused| refusal::fatal(refused.borrow().as_ref())) {
        return Err(refusal.into());
    }
    if let Some(problem) = cgroups.refused() {
        return Err(StartError::CgroupDriver(problem));
    }
    match ended {
        // Calls to the runtime that outlast the drain, such as a stop within its grace. The runtime ends them, and
        // the next start sees what came of it; the log has their names.
        Err(SuperviseError::Unfinished(_)) => Ok(()),
        ended => Ok(ended?),
    }
}

/// Starts every loop that works on pods, and those that speak to the API server if there is a kubeconfig.
async fn start(
    config: &Config,
    clock: &Clock,
    disk: &Arc<dyn Disk>,
    opened: Opened,
    is_new_root: bool,
    supervisor: &Supervisor,
) -> Result<Board, StartError> {
    let only_source = config.kubeconfig.is_none().then(Objects::default);
    let manifests = spawn_source(config, clock, &opened, only_source.as_ref(), supervisor);
    let kernel = enforcement::read();
    let (place, place_reader) = watch::channel(Arc::new(place::first(config, &kernel)));
    let mut parts = parts(config, kernel, Arc::clone(disk), clock.clone(), place_reader)?;
    if config.node.is_virtual {
        let stop = supervisor.stop_token();
        supervisor
            .spawn_core("strangers", strangers::tell(parts.client.clone(), parts.endpoint.clone(), stop));
    }
    parts.objects = only_source.unwrap_or_default();
    let Some(kubeconfig) = &config.kubeconfig else {
        alone::tell_place(config, place, supervisor);
        return Ok(app::start(parts, opened, manifests, supervisor));
    };
    let (cluster, events) = Cluster::new(kubeconfig, config, clock, disk, &opened, supervisor).await;
    let desired = cluster.merged(manifests, supervisor);
    parts.events = events;
    parts.objects = cluster.referenced(config, Arc::clone(disk), supervisor);
    parts.classes = cluster.classes();
    let (runtime, objects) = (parts.client.clone(), cluster.objects());
    let board = app::start(parts, opened, desired, supervisor);
    let around = Around { board: &board, runtime, clock: clock.clone(), place, is_new_root, supervisor };
    let membership = cluster.join(config, around);
    Ok(Board { objects: Some(objects), membership: Some(membership), ..board })
}

fn machine(what: &'static str, source: std::io::Error) -> StartError {
    StartError::Machine { what, source }
}

async fn open_journal(disk: Arc<dyn Disk>, root: &Path) -> Result<Opened, StartError> {
    let dir = root.join("pinnace").join("journal");
    tokio::task::spawn_blocking(move || Journal::open(disk, dir))
        .await
        .map_err(|error| machine("the journal", std::io::Error::other(error)))
}

/// The static pod directory; without one, an empty wish that counts as synced. Without an API server its ConfigMaps and
/// Secrets are told to `only_source`.
fn spawn_source(
    config: &Config,
    clock: &Clock,
    opened: &Opened,
    only_source: Option<&Objects>,
    supervisor: &Supervisor,
) -> watch::Receiver<Arc<Desired>> {
    let (out, desired) = watch::channel(Arc::new(Desired::default()));
    let Some(path) = config.static_pod_path.clone() else {
        out.send_replace(Arc::new(Desired { synced: true, ..Desired::default() }));
        // Nothing will be sent; the fleet must not take that for the end.
        let stop = supervisor.stop_token();
        supervisor.spawn_core("no manifests", async move {
            stop.cancelled().await;
            drop(out);
        });
        return desired;
    };
    let admitted = cluster::admitted(opened, |origin| matches!(origin, Origin::File(_)));
    let files = files::Config { path, period: config.file_check_frequency, node: config.node_name.clone() };
    let mut files = Files::new(files, clock.clone(), admitted, out);
    if let Some(objects) = only_source {
        files = files.alone_with(objects.clone());
    }
    supervisor.spawn_core("manifests", files.run(supervisor.stop_token()));
    desired
}

fn parts(
    config: &Config,
    kernel: Enforcement,
    disk: Arc<dyn Disk>,
    clock: Clock,
    place: watch::Receiver<Arc<Place>>,
) -> Result<Parts, StartError> {
    let deadlines = Deadlines { request: config.runtime_request_timeout, ..Deadlines::default() };
    let endpoint = address(&config.runtime_endpoint);
    let image_endpoint =
        (config.image_endpoint != config.runtime_endpoint).then(|| address(&config.image_endpoint));
    let client = Client::connect_lazy(&endpoint, image_endpoint.as_deref(), deadlines)?;
    let limits = Limits::read(&config.root_dir).map_err(|source| machine("the machine", source))?;
    let seccomp_root = config.root_dir.join("seccomp");
    Ok(Parts {
        node: config.node_name.clone(),
        ownership: if config.node.is_virtual {
            Ownership::Virtual(config.node_name.clone())
        } else {
            Ownership::Node(config.node_name.clone())
        },
        client,
        endpoint,
        disk,
        clock,
        dirs: dirs(config),
        site: Site {
            owner: config.node_name.clone(),
            node: limits.of_containers(config),
            security: Defaults {
                seccomp_default: config.seccomp_default,
                seccomp_root,
                app_armor: kernel.app_armor,
                se_linux: kernel.se_linux,
                masked: kernel.throttling,
            },
            dns: dns(config),
        },
        pace: Pace { backoff_cap: config.max_container_restart_period, ..Pace::default() },
        relist: relist::Config::default(),
        runtime_period: PERIOD,
        images: images::settings(config)?,
        events: EventLog::default(),
        objects: Objects::default(),
        classes: RuntimeClasses::default(),
        cgroups: limits.cgroups(config),
        place,
        ids_per_pod: config.ids_per_pod,
        cpus: usize::try_from(limits.machine.cpus).unwrap_or(1),
    })
}

fn dns(config: &Config) -> dns::Settings {
    dns::Settings {
        servers: config.cluster_dns.clone(),
        domain: config.cluster_domain.clone(),
        resolv_conf: config.resolv_conf.clone(),
        in_cluster: config.kubeconfig.is_some(),
    }
}

fn address(socket: &Path) -> String {
    format!("unix://{}", socket.display())
}

/// Links for log collectors are made by the instance that has the standard log directory only: a second one
/// on the same machine keeps to its own directories.
fn dirs(config: &Config) -> Dirs {
    let standard = config.pod_logs_dir == Path::new("/var/log/pods");
    Dirs {
        root: config.root_dir.clone(),
        pod_logs: config.pod_logs_dir.clone(),
        container_logs: standard.then(|| PathBuf::from(CONTAINER_LOGS)),
    }
}

async fn serve(
    config: &Config,
    board: Board,
    supervisor: &Supervisor,
    notifier: &Notifier,
    disk: Arc<dyn Disk>,
    clock: Clock,
) -> Result<(), StartError> {
    let stop = supervisor.stop_token();
    let board = Arc::new(board);
    let views: Arc<dyn Views> = board.clone();
    https::start(https::Parts::new(config, Arc::clone(&views), board, disk, clock), supervisor).await?;
    let admin = Admin::bind(&config.admin_socket, Arc::clone(&views)).await?;
    supervisor.spawn_core("admin socket", admin.run(stop.clone()));
    if let Some(address) = config.healthz {
        let healthz = Healthz::bind(address, Arc::clone(&views)).await?;
        supervisor.spawn_core("healthz", healthz.run(stop.clone()));
    }
    // The watchdog asks whether this process hangs, not whether the runtime is well: restarting the agent
    // mends only the first. That the check runs at all shows that the executor does.
    if let Some(watchdog) = Watchdog::from_environment(notifier.clone(), || Ok(())) {
        supervisor.spawn_core("watchdog", watchdog.run(stop));
    }
    Ok(())
}

/// Says in the log what this machine's cgroups cannot do; `pinnace check` says it too, with all else.
fn tell_limits() {
    // A machine that does not show its mounts says so in `pinnace check`.
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let finding = cgroup::version(&mounts);
    if finding.level != CheckLevel::Ok {
        tracing::warn!(found = finding.found, fix = finding.fix, "cgroups are not what they could be");
    }
}

/// Says what a virtual node does without until it is given more.
fn tell_virtual(config: &Config) {
    if config.node.is_virtual && config.kubeconfig.is_some() && config.serving.is_none() {
        tracing::info!(
            "this virtual node serves no HTTPS, so that kubectl logs does not reach its pods; \
             name a port of its own with --port"
        );
    }
}

/// Cancels `stop` on SIGTERM or SIGINT.
fn until_signal(stop: CancellationToken) -> std::io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            _ = terminate.recv() => tracing::info!("stopping on SIGTERM; containers live on"),
            _ = interrupt.recv() => tracing::info!("stopping on SIGINT; containers live on"),
        }
        stop.cancel();
    })
}
