//! S-d: what it costs to know what the runtime holds, over a Unix socket to a fake in another process.
//!
//! CPU time is this process's, per container, with one sandbox beside each container; the product's own number of
//! threads runs. "Own cost" is the same work on bytes that have arrived already.

use std::hint::black_box;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use pinnace_cri::client::{Client, Deadlines};
use pinnace_cri::labels::Ownership;
use pinnace_cri::lister::{Listed, Lister, Relist};

use crate::machine::own_cpu;
use crate::report::{Report, Samples};

/// Numbers of containers, and how many passes of each kind are made.
const SIZES: [(usize, usize); 3] = [(110, 400), (1_000, 100), (10_000, 15)];

pub(crate) async fn measure(report: &mut Report) -> Result<()> {
    report.section("S-d relist (one sandbox and one container per pod; CPU of this process)");
    for (pods, passes) in SIZES {
        let dir = tempfile::tempdir()?;
        let endpoint = dir.path().join("fake.sock").display().to_string();
        let mut server = Server::start(&endpoint, pods)?;
        let client = Client::connect_lazy(&endpoint, None, Deadlines::default())?;
        let case = Case { client, pods, passes };
        let single = tokio::task::spawn_blocking(move || single_threaded(&endpoint, pods, passes)).await??;
        case.all(report, &mut server, single).await.with_context(|| format!("{pods} pods"))?;
    }
    Ok(())
}

/// The floor without what it costs to wake one thread from another.
fn single_threaded(endpoint: &str, pods: usize, passes: usize) -> Result<Cost> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = Client::connect_lazy(endpoint, None, Deadlines::default())?;
        Case { client, pods, passes }.floor().await
    })
}

struct Case {
    client: Client,
    pods: usize,
    passes: usize,
}

impl Case {
    async fn all(&self, report: &mut Report, server: &mut Server, single: Cost) -> Result<()> {
        let (sandboxes, containers) = self.client.fetch_lists().await?;
        let each = |pieces: &[Bytes]| pieces.iter().map(Bytes::len).sum::<usize>() / self.pods;
        let pods = self.pods;
        report.note(&format!(
            "{pods} containers: {} B per container, {} B per sandbox, {} passes each",
            each(&containers),
            each(&sandboxes),
            self.passes
        ));
        let floor = self.floor().await?;
        self.show(report, "transport floor, bytes unread", &floor);
        report.plain(&format!("{pods}: the same on a single thread"), single.cpu, "us");
        let unchanged = self.unchanged().await?;
        report.at_most(&format!("{pods}: unchanged pass, CPU per container"), unchanged.cpu, "us", 1.0);
        self.show_wall(report, "unchanged pass", &unchanged);
        let own = self.own(&sandboxes, &containers)?;
        report.at_most(&format!("{pods}: of it our own after transport, p50"), own, "us", 0.3);
        report.plain(&format!("{pods}: unchanged pass to floor"), unchanged.cpu / floor.cpu, "x");
        for (word, name) in [("some", "1 % changed"), ("all", "all changed")] {
            let changed = self.changed(server, word).await?;
            self.show(report, name, &changed);
        }
        let decode = self.rounds(async || {
            let sandboxes = self.client.list_sandboxes(None).await?;
            black_box((sandboxes, self.client.list_containers(None).await?));
            Ok(())
        });
        self.show(report, "plain decode of both lists", &decode.await?);
        Ok(())
    }

    fn show(&self, report: &mut Report, what: &str, cost: &Cost) {
        report.plain(&format!("{}: {what}, CPU per container", self.pods), cost.cpu, "us");
        self.show_wall(report, what, cost);
    }

    fn show_wall(&self, report: &mut Report, what: &str, cost: &Cost) {
        report.percentiles(&format!("{}: {what}, wall", self.pods), &cost.wall);
    }

    async fn floor(&self) -> Result<Cost> {
        self.rounds(async || {
            black_box(self.client.fetch_lists().await?);
            Ok(())
        })
        .await
    }

    async fn rounds(&self, pass: impl AsyncFn() -> Result<()>) -> Result<Cost> {
        pass().await?;
        let (mut wall, before) = (Samples::default(), own_cpu()?);
        for _ in 0..self.passes {
            let began = Instant::now();
            pass().await?;
            wall.add(began.elapsed());
        }
        Ok(self.cost(own_cpu()?.saturating_sub(before), wall))
    }

    fn cost(&self, cpu: Duration, wall: Samples) -> Cost {
        let containers = self.pods * wall.len().max(1);
        Cost { cpu: cpu.as_secs_f64() * 1e6 / containers as f64, wall }
    }

    async fn unchanged(&self) -> Result<Cost> {
        let lister = Lister::new(self.client.clone(), Ownership::Node("bench".to_owned()));
        lister.list().await?;
        self.rounds(async || match lister.list().await? {
            Listed::Unchanged => Ok(()),
            Listed::Changed(_) => bail!("something changed"),
        })
        .await
    }

    /// The server is told before each pass, outside of what is measured.
    async fn changed(&self, server: &mut Server, word: &str) -> Result<Cost> {
        let lister = Lister::new(self.client.clone(), Ownership::Node("bench".to_owned()));
        lister.list().await?;
        let (mut wall, mut cpu) = (Samples::default(), Duration::ZERO);
        for pass in 0..self.passes {
            server.tell(if pass % 2 == 0 { word } else { "none" })?;
            let (began, before) = (Instant::now(), own_cpu()?);
            let listed = lister.list().await?;
            wall.add(began.elapsed());
            drop(listed);
            cpu += own_cpu()?.saturating_sub(before);
        }
        server.tell("none")?;
        Ok(self.cost(cpu, wall))
    }

    /// Microseconds per container of an unchanged pass over bytes that are there.
    fn own(&self, sandboxes: &[Bytes], containers: &[Bytes]) -> Result<f64> {
        let mut relist = Relist::new(Ownership::Node("bench".to_owned()));
        relist.absorb(sandboxes, containers)?;
        let mut times = Samples::default();
        for _ in 0..self.passes.max(50) {
            // CPU time: on a busy machine a pass over ten thousand is interrupted more often than not.
            let before = own_cpu()?;
            black_box(relist.absorb(sandboxes, containers)?);
            times.add(own_cpu()?.saturating_sub(before));
        }
        Ok(times.p50().as_secs_f64() * 1e6 / self.pods as f64)
    }
}

struct Cost {
    /// Microseconds per container.
    cpu: f64,
    wall: Samples,
}

/// The process of [`crate::serve`]; it ends when this is dropped.
struct Server {
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Server {
    fn start(socket: &str, pods: usize) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["serve", socket, &pods.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let orders = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().context("no standard output")?);
        let mut server = Self { child, orders, answers };
        server.hear("ready")?;
        Ok(server)
    }

    fn tell(&mut self, word: &str) -> Result<()> {
        writeln!(self.orders.as_mut().context("no standard input")?, "{word}")?;
        self.hear("done")
    }

    fn hear(&mut self, word: &str) -> Result<()> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        if line.trim() == word { Ok(()) } else { bail!("the server said {line:?} instead of {word}") }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.orders = None;
        // It ended by itself or is killed: both leave nothing behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
