//! The client against a small server of its own, over in-memory streams and in virtual time; over a real socket
//! where the connection itself is the subject.

#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by them, in its helpers too")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use hyper_util::rt::TokioIo;
use pinnace_cri::client::{Client, Deadlines, boxed, tuned};
use pinnace_cri::error::Error;
use pinnace_cri::id::{ContainerId, SandboxId};
use pinnace_cri::labels::{Ownership, POD_UID};
use pinnace_cri::lister::{Listed, Lister, Listing};
use pinnace_cri::v1;
use pinnace_cri::v1::runtime_service_server::{RuntimeService, RuntimeServiceServer};
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tonic::transport::{Endpoint, Server};
use tonic::{Code, Request, Response, Status};

type Answer<T> = Result<Response<T>, Status>;
type Pieces<T> = tonic::codegen::BoxStream<T>;

/// What the server does.
#[derive(Clone, Default)]
struct Runtime {
    containers: Vec<v1::Container>,
    /// Bytes per streamed piece; none: the server does not stream.
    records_per_piece: Option<usize>,
    /// The error that mutating calls get; none: they never get an answer.
    refusal: Option<Status>,
    /// Whether an event stream is offered, with nothing to say until much later.
    events: bool,
    headers: Arc<Mutex<Vec<String>>>,
}

impl Runtime {
    async fn refuse<T>(&self) -> Answer<T> {
        match &self.refusal {
            Some(status) => Err(status.clone()),
            None => std::future::pending().await,
        }
    }
}

#[tonic::async_trait]
impl RuntimeService for Runtime {
    async fn version(&self, request: Request<v1::VersionRequest>) -> Answer<v1::VersionResponse> {
        let headers = request.metadata().keys().map(|key| format!("{key:?}"));
        self.headers.lock().unwrap().extend(headers);
        Ok(Response::new(v1::VersionResponse { runtime_name: "test".into(), ..Default::default() }))
    }

    async fn status(&self, _: Request<v1::StatusRequest>) -> Answer<v1::StatusResponse> {
        std::future::pending().await
    }

    async fn run_pod_sandbox(
        &self,
        _: Request<v1::RunPodSandboxRequest>,
    ) -> Answer<v1::RunPodSandboxResponse> {
        match &self.refusal {
            Some(_) => Ok(Response::new(v1::RunPodSandboxResponse { pod_sandbox_id: "../../x".into() })),
            None => std::future::pending().await,
        }
    }

    async fn stop_pod_sandbox(
        &self,
        _: Request<v1::StopPodSandboxRequest>,
    ) -> Answer<v1::StopPodSandboxResponse> {
        self.refuse().await
    }

    async fn stop_container(
        &self,
        _: Request<v1::StopContainerRequest>,
    ) -> Answer<v1::StopContainerResponse> {
        self.refuse().await
    }

    async fn remove_container(
        &self,
        _: Request<v1::RemoveContainerRequest>,
    ) -> Answer<v1::RemoveContainerResponse> {
        self.refuse().await
    }

    async fn start_container(
        &self,
        _: Request<v1::StartContainerRequest>,
    ) -> Answer<v1::StartContainerResponse> {
        self.refuse().await
    }

    async fn exec_sync(&self, _: Request<v1::ExecSyncRequest>) -> Answer<v1::ExecSyncResponse> {
        self.refuse().await
    }

    async fn list_pod_sandbox(
        &self,
        _: Request<v1::ListPodSandboxRequest>,
    ) -> Answer<v1::ListPodSandboxResponse> {
        Ok(Response::new(v1::ListPodSandboxResponse::default()))
    }

    async fn list_containers(
        &self,
        _: Request<v1::ListContainersRequest>,
    ) -> Answer<v1::ListContainersResponse> {
        Ok(Response::new(v1::ListContainersResponse { containers: self.containers.clone() }))
    }

    async fn stream_containers(
        &self,
        _: Request<v1::StreamContainersRequest>,
    ) -> Answer<Pieces<v1::StreamContainersResponse>> {
        let Some(per_piece) = self.records_per_piece else { return Err(Status::unimplemented("not here")) };
        let piece = |records: &[v1::Container]| v1::StreamContainersResponse { containers: records.to_vec() };
        let pieces: Vec<_> = self.containers.chunks(per_piece).map(|records| Ok(piece(records))).collect();
        Ok(Response::new(futures::stream::iter(pieces).boxed()))
    }

    /// As grpc-go does, the answer's headers come with its first message, not before.
    async fn get_container_events(
        &self,
        _: Request<v1::GetEventsRequest>,
    ) -> Answer<Pieces<v1::ContainerEventResponse>> {
        if !self.events {
            return Err(Status::unimplemented("not here"));
        }
        tokio::time::sleep(Duration::from_secs(3600)).await;
        let event = v1::ContainerEventResponse { container_id: "c1".into(), ..Default::default() };
        Ok(Response::new(futures::stream::iter([Ok(event)]).boxed()))
    }
}

/// A client of `runtime` over in-memory streams; the server lives as long as the set.
fn serve(runtime: Runtime) -> (Client, JoinSet<()>) {
    let (connections, mut accepted) = mpsc::channel::<DuplexStream>(4);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let incoming =
            futures::stream::poll_fn(move |cx| accepted.poll_recv(cx)).map(Ok::<_, std::io::Error>);
        let service = RuntimeServiceServer::new(runtime).max_encoding_message_size(64 << 20);
        Server::builder().add_service(service).serve_with_incoming(incoming).await.unwrap();
    });
    let connector = tower::service_fn(move |_: http::Uri| {
        let connections = connections.clone();
        async move {
            let (ours, theirs) = tokio::io::duplex(1 << 20);
            connections
                .send(theirs)
                .await
                .map_err(|_| std::io::Error::from(std::io::ErrorKind::ConnectionRefused))?;
            Ok::<_, std::io::Error>(TokioIo::new(ours))
        }
    });
    let channel = tuned(Endpoint::from_static("http://runtime")).connect_with_connector_lazy(connector);
    (Client::with_transport(boxed(channel), Deadlines::default()), tasks)
}

fn container_id() -> ContainerId {
    ContainerId::new("c1").unwrap()
}

fn sandbox_id() -> SandboxId {
    SandboxId::new("s1").unwrap()
}

/// How long `asked` took to reach its deadline, in whole seconds.
async fn seconds_to_deadline<T: std::fmt::Debug>(asked: impl Future<Output = Result<T, Error>>) -> u64 {
    let start = Instant::now();
    let error = asked.await.expect_err("the server does not answer");
    assert!(error.is_timeout() && !error.is_definite() && !error.is_unavailable(), "{error:?}");
    start.elapsed().as_secs()
}

#[tokio::test(start_paused = true)]
async fn every_kind_of_call_has_its_own_deadline() {
    let (client, _server) = serve(Runtime::default());
    assert_eq!(seconds_to_deadline(client.status(false)).await, 10);
    assert_eq!(seconds_to_deadline(client.start_container(&container_id())).await, 120);
    assert_eq!(seconds_to_deadline(client.run_sandbox(v1::PodSandboxConfig::default(), "")).await, 240);
    let (id, grace) = (container_id(), Duration::from_secs(30));
    assert_eq!(seconds_to_deadline(client.stop_container(&id, grace)).await, 150);
    assert_eq!(seconds_to_deadline(client.exec_sync(&id, Vec::new(), Duration::from_secs(1))).await, 6);
    assert_eq!(seconds_to_deadline(client.exec_sync(&id, Vec::new(), Duration::ZERO)).await, 120);
}

#[tokio::test(start_paused = true)]
async fn deadlines_stay_on_this_side() {
    let runtime = Runtime::default();
    let headers = Arc::clone(&runtime.headers);
    let (client, _server) = serve(runtime);
    assert_eq!(client.version().await.unwrap().runtime_name, "test");
    let headers = headers.lock().unwrap();
    assert!(!headers.is_empty() && headers.iter().all(|header| !header.contains("timeout")), "{headers:?}");
}

#[tokio::test(start_paused = true)]
async fn stop_and_remove_take_not_found_for_done_and_nothing_else() {
    let (client, _server) = serve(Runtime { refusal: Some(Status::not_found("gone")), ..Default::default() });
    client.stop_sandbox(&sandbox_id()).await.unwrap();
    client.stop_container(&container_id(), Duration::ZERO).await.unwrap();
    client.remove_container(&container_id()).await.unwrap();
    assert!(client.start_container(&container_id()).await.unwrap_err().is_not_found());
    let (client, _server) = serve(Runtime { refusal: Some(Status::unknown("no")), ..Default::default() });
    let error = client.remove_container(&container_id()).await.unwrap_err();
    assert!(error.is_definite(), "{error:?}");
    assert_eq!(error.to_string(), "failed to remove container");
}

#[tokio::test(start_paused = true)]
async fn a70_an_id_that_is_none_is_an_error_and_no_proof_of_absence() {
    let (client, _server) = serve(Runtime { refusal: Some(Status::unknown("")), ..Default::default() });
    let error = client.run_sandbox(v1::PodSandboxConfig::default(), "").await.unwrap_err();
    assert!(!error.is_definite() && error.status().is_none(), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_long_error_message_does_not_break_the_connection() {
    let text = "x".repeat(100_000);
    let (client, _server) = serve(Runtime { refusal: Some(Status::unknown(&text)), ..Default::default() });
    let error = client.start_container(&container_id()).await.unwrap_err();
    assert_eq!(
        error.status().map(|status| (status.code(), status.message().len())),
        Some((Code::Unknown, 100_000))
    );
    assert!(client.version().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_runtime_without_events_says_so_at_once_and_a_silent_one_counts_as_open() {
    let (client, _server) = serve(Runtime::default());
    let Err(error) = client.events().await else { panic!("there are no events here") };
    assert!(error.is_unimplemented());
    let (client, _server) = serve(Runtime { events: true, ..Default::default() });
    let start = Instant::now();
    let mut events = client.events().await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(1));
    assert!(events.next().now_or_never().is_none());
    assert_eq!(events.next().await.unwrap().unwrap().container_id, "c1");
    assert!(events.next().await.is_none());
}

/// Containers of one pod whose list is about `bytes` long.
fn large_list(bytes: usize) -> Vec<v1::Container> {
    let labels = BTreeMap::from([(POD_UID.to_owned(), "u".to_owned())]);
    let padding = BTreeMap::from([("padding".to_owned(), "x".repeat(100_000))]);
    let container = |at| v1::Container {
        id: format!("c{at}"),
        pod_sandbox_id: "s1".into(),
        metadata: Some(v1::ContainerMetadata { name: "c".into(), attempt: 0 }),
        labels: labels.clone(),
        annotations: padding.clone(),
        ..Default::default()
    };
    (0..bytes / 100_100).map(container).collect()
}

async fn list(bytes: usize, records_per_piece: Option<usize>) -> Result<usize, Error> {
    let containers = large_list(bytes);
    let (client, _server) = serve(Runtime { containers, records_per_piece, ..Default::default() });
    match Lister::new(client, Ownership::Node("n1".into())).list().await? {
        Listed::Changed(Listing { containers, .. }) => Ok(containers.len()),
        Listed::Unchanged => Ok(0),
    }
}

#[tokio::test(start_paused = true)]
async fn a71_lists_up_to_the_limit_are_read_and_larger_ones_only_in_pieces() {
    assert_eq!(list(4_400_000, None).await.unwrap(), 43);
    assert_eq!(list(16_500_000, None).await.unwrap(), 164);
    let error = list(17_900_000, None).await.unwrap_err();
    assert!(error.is_exhausted() && !error.is_unimplemented(), "{error:?}");
    assert_eq!(list(17_900_000, Some(10)).await.unwrap(), 178);
}

#[tokio::test(start_paused = true)]
async fn a_lister_repeats_nothing_that_did_not_change() {
    let (client, _server) = serve(Runtime { containers: large_list(300_300), ..Default::default() });
    let lister = Lister::new(client, Ownership::Node("n1".into()));
    assert!(matches!(lister.list().await, Ok(Listed::Changed(_))));
    assert_eq!(lister.list().await.unwrap(), Listed::Unchanged);
    lister.redeliver();
    assert!(matches!(lister.list().await, Ok(Listed::Changed(_))));
    let pod = lister.list_pod(&"u".parse().unwrap()).await.unwrap();
    assert_eq!(pod.containers.len(), 3);
    let other = lister.list_pod(&"v".parse().unwrap()).await.unwrap();
    assert_eq!(other.containers.len(), 0, "this server takes no notice of the selector");
    assert_eq!(lister.list().await.unwrap(), Listed::Unchanged);
}

/// Serves on a socket, connections included, until the returned runtime is shut down: as a process would.
fn serve_socket(path: &std::path::Path) -> tokio::runtime::Runtime {
    let listener = std::os::unix::net::UnixListener::bind(path).unwrap();
    listener.set_nonblocking(true).unwrap();
    let process = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    process.spawn(async move {
        let listener = tokio::net::UnixListener::from_std(listener).unwrap();
        let incoming = tokio_stream::wrappers::UnixListenerStream::new(listener);
        let service = RuntimeServiceServer::new(Runtime::default());
        Server::builder().add_service(service).serve_with_incoming(incoming).await.unwrap();
    });
    process
}

#[tokio::test]
async fn b01_a_lost_runtime_is_unavailable_and_is_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cri.sock");
    let endpoint = format!("unix://{}", path.display());
    let client = Client::connect_lazy(&endpoint, None, Deadlines::default()).unwrap();
    let error = client.version().await.unwrap_err();
    assert!(error.is_unavailable() && !error.is_definite(), "{error:?}");
    for _ in 0..3 {
        let server = serve_socket(&path);
        let found = tokio::time::timeout(Duration::from_secs(10), async {
            while client.version().await.is_err() {
                tokio::task::yield_now().await;
            }
        });
        found.await.expect("the client does not reconnect within 10 s");
        server.shutdown_background();
        std::fs::remove_file(&path).unwrap();
        // Its connections end a moment later.
        let lost = tokio::time::timeout(Duration::from_secs(10), async {
            loop {
                if let Err(error) = client.version().await {
                    return error;
                }
                tokio::task::yield_now().await;
            }
        });
        let error = lost.await.expect("the client does not see the loss within 10 s");
        assert!(error.is_unavailable() && !error.is_definite(), "{error:?}");
    }
}

#[tokio::test]
async fn b51_a_call_whose_runtime_dies_under_it_proves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cri.sock");
    let server = serve_socket(&path);
    let client = Client::connect_lazy(path.to_str().unwrap(), None, Deadlines::default()).unwrap();
    client.version().await.unwrap();
    let (sandbox, container) = (v1::PodSandboxConfig::default(), container_id());
    let run = client.run_sandbox(sandbox, "");
    let start = client.start_container(&container);
    let mut calls = Box::pin(futures::future::join(run, start));
    // Both requests are with the server once it answers a call that was made after them.
    assert!(futures::poll!(&mut calls).is_pending());
    client.version().await.unwrap();
    server.shutdown_background();
    let ended = tokio::time::timeout(Duration::from_secs(10), calls).await;
    let (run, start) = ended.expect("the calls do not end with their connection");
    for error in [run.unwrap_err(), start.unwrap_err()] {
        assert!(error.is_unavailable() && !error.is_definite() && !error.is_not_found(), "{error:?}");
    }
}

#[tokio::test]
async fn a_socket_that_speaks_something_else_is_an_error() {
    use tokio::io::AsyncWriteExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("http1.sock");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
        }
    });
    let client = Client::connect_lazy(path.to_str().unwrap(), None, Deadlines::default()).unwrap();
    let error = client.version().await.unwrap_err();
    assert!(!error.is_timeout() && !error.is_definite(), "{error:?}");
}
