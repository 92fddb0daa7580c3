//! S-a, S-b, S-c, S-f and S-h on a real API server and a real containerd: floor, agent and, where there is one,
//! the kubelet, turn by turn. The watch of this process is the witness: what it has not received did not happen.
//!
//! Each subject has a containerd and a node of its own. [`Setting`] says what there is and how much of it is done.

mod audit;
mod bursts;
mod cri_proxy;
mod exits;
mod floors;
mod idle;
mod machine_state;
mod pods;
mod restart;
mod setting;
mod subject;
mod table;
mod witness;

use std::path::Path;

use anyhow::{Context, Result};

pub(crate) use setting::GROUPS;
use setting::Setting;
use subject::{Kind, Subject};
use table::Table;
use witness::Witness;

use crate::report::Report;

/// `words` are groups; all of them without one.
pub(crate) async fn measure(report: &mut Report, binary: &Path, words: &[String]) -> Result<()> {
    let Some(setting) = Setting::read(binary, words).await? else {
        report.note("\ncluster: left out, PINNACE_BENCH_ADMIN names no kubeconfig");
        return Ok(());
    };
    report.section(&format!("cluster: {}", setting.describe()));
    let mut table = Table::default();
    for round in 0..setting.rounds {
        floors::measure(&setting, &mut table).await.context("floor")?;
        let mut kinds = vec![Kind::Agent];
        kinds.extend(setting.kubelet.as_ref().map(|_| Kind::Kubelet));
        if round % 2 == 1 {
            kinds.reverse();
        }
        for kind in kinds {
            let done = session(&setting, &mut table, kind).await.with_context(|| kind.name().to_owned());
            match (kind, done) {
                // Without the peer the rest is still worth having.
                (Kind::Kubelet, Err(error)) => report.note(&format!("kubelet: given up: {error:#}")),
                (_, done) => done?,
            }
        }
    }
    table.print();
    table.judge(report, &setting);
    Ok(())
}

/// A subject with the tools to measure it.
struct Session<'a> {
    setting: &'a Setting,
    table: &'a mut Table,
    subject: &'a mut Subject,
    witness: Witness,
}

impl Session<'_> {
    fn add(&mut self, row: &str, unit: &'static str, value: f64) {
        self.table.add(row, unit, self.subject.kind.name(), value);
    }
}

/// One turn of one subject, from its start to the end of its pods.
async fn session(setting: &Setting, table: &mut Table, kind: Kind) -> Result<()> {
    eprintln!("bench: {}", kind.name());
    let mut subject = Subject::new(setting, kind)?;
    let witness = Witness::start(&setting.api, &subject.node);
    let began = subject.start()?;
    let ready = witness.until_node_ready().await.with_context(|| subject.last_words())?;
    let mut session = Session { setting, table, subject: &mut subject, witness };
    session.add("exec -> node Ready", "ms", crate::report::ms(ready.saturating_duration_since(began)));
    let done = groups(&mut session).await.with_context(|| session.subject.last_words());
    if done.is_err() {
        // Its containerd is wiped anyway; the objects must not disturb the next subject.
        let _ = session.remove_all(true).await;
    }
    subject.stop()?;
    pods::delete_node(&setting.api, &subject.node).await?;
    done
}

async fn groups(session: &mut Session<'_>) -> Result<()> {
    let (wants, sizes) = (session.setting.groups.clone(), session.setting.sizes.clone());
    let wants = |group: &str| wants.iter().any(|wanted| wanted == group);
    session.warm_up().await.context("first pod")?;
    if wants("idle") {
        session.idle(0).await.context("idle")?;
    }
    if wants("sequential") {
        session.sequential().await.context("sequential")?;
    }
    for pods in sizes {
        if !["burst", "exit", "restart", "delete", "idle"].into_iter().any(wants) {
            continue;
        }
        session.burst(pods, wants("burst")).await.with_context(|| format!("burst of {pods}"))?;
        if wants("idle") {
            session.idle(pods).await.context("idle")?;
        }
        if wants("restart") {
            session.restart(pods).await.context("restart")?;
        }
        if wants("exit") && pods == session.setting.largest() {
            session.exits(pods).await.context("exit")?;
        }
        session.delete(wants("delete")).await.context("delete")?;
    }
    Ok(())
}
