//! A hand-written [`Views`] for tests: what it holds is what it answers.

use std::path::PathBuf;
use std::sync::Mutex;

use jiff::Timestamp;

use super::lookup;
use super::views::{LookupError, Views};
use crate::view::{ContainerView, EventView, ExplainView, PodView};

/// What it answers; every field may be changed while servers run.
#[derive(Default)]
pub(crate) struct FakeViews {
    pub(crate) pods: Mutex<Vec<PodView>>,
    pub(crate) containers: Mutex<Vec<ContainerView>>,
    pub(crate) events: Mutex<Vec<EventView>>,
    pub(crate) sick: Mutex<Option<String>>,
    pub(crate) problems: Mutex<Vec<String>>,
}

impl FakeViews {
    /// Pod `default/NAME-node1` with UID `uid-NAME` and one container `main`, which writes to `log`.
    pub(crate) fn add(&self, name: &str, log: Option<PathBuf>) {
        let pod = PodView {
            namespace: "default".to_owned(),
            name: format!("{name}-node1"),
            uid: format!("uid-{name}"),
            ready: 1,
            containers: 1,
            status: "Running".to_owned(),
            phase: "Running".to_owned(),
            restarts: 0,
            started: Timestamp::from_second(1_000).ok(),
            ip: None,
            reason: String::new(),
            source: None,
        };
        let container = ContainerView {
            namespace: pod.namespace.clone(),
            pod: pod.name.clone(),
            name: "main".to_owned(),
            id: Some("c1".to_owned()),
            state: "Running".to_owned(),
            reason: String::new(),
            message: String::new(),
            exit_code: None,
            last_exit_code: None,
            restarts: 0,
            image: "busybox".to_owned(),
            started: pod.started,
            finished: None,
            log_path: log.map(|path| path.display().to_string()),
            previous_log_path: None,
        };
        self.pods.lock().unwrap().push(pod);
        self.containers.lock().unwrap().push(container);
    }

    /// Ends every container.
    pub(crate) fn end_containers(&self) {
        for container in self.containers.lock().unwrap().iter_mut() {
            container.state = "Terminated".to_owned();
        }
    }

    fn find(&self, query: &str) -> Result<PodView, LookupError> {
        let pods = self.pods.lock().unwrap();
        let known = pods.iter().map(|pod| (pod.namespace.as_str(), pod.name.as_str(), pod.uid.as_str()));
        let uid = lookup::find(query, "node1", known)?;
        Ok(pods.iter().find(|pod| pod.uid == uid).unwrap().clone())
    }
}

impl Views for FakeViews {
    fn pods(&self) -> Vec<PodView> {
        self.pods.lock().unwrap().clone()
    }

    fn containers(&self) -> Vec<ContainerView> {
        self.containers.lock().unwrap().clone()
    }

    fn explain(&self, pod: &str) -> Result<ExplainView, LookupError> {
        let pod = self.find(pod)?;
        let containers = self.containers().into_iter().filter(|c| c.pod == pod.name).collect();
        let (step, last_error, held, timeline) = (None, None, Vec::new(), Vec::new());
        Ok(ExplainView { pod, containers, step, last_error, held, timeline })
    }

    fn events(&self) -> Vec<EventView> {
        self.events.lock().unwrap().clone()
    }

    fn health(&self) -> Result<(), String> {
        self.sick.lock().unwrap().clone().map_or(Ok(()), Err)
    }

    fn problems(&self) -> Vec<String> {
        self.problems.lock().unwrap().clone()
    }

    fn log_path(&self, pod: &str, container: Option<&str>, _: bool) -> Result<PathBuf, LookupError> {
        let explained = self.explain(pod)?;
        let of_name = explained.containers.iter().find(|c| container.is_none_or(|name| name == c.name));
        let path = of_name.and_then(|container| container.log_path.clone());
        path.map(PathBuf::from).ok_or_else(|| LookupError::NotFound("no such container".to_owned()))
    }
}
