//! `/containerLogs/NAMESPACE/POD/CONTAINER`: which file, and the file as a stream.
//!
//! A pod and a container that are not this node's are refused before any file is touched. The file is opened beneath
//! the pod log directory and through no link. Which instance is meant, and what is said when there is none, is as in
//! the kubelet (`validateContainerLogStatus` in `pkg/kubelet/kubelet_pods.go`).

use std::io;
use std::path::PathBuf;

use axum::body::Body;
use http::StatusCode;

use super::answer::{Context, Reply, plain, text};
use super::log_query::{LogQuery, Refusal};
use crate::server::log_file::LogFile;
use crate::server::log_stream::LogStream;
use crate::server::views::Views;
use crate::view::{ContainerView, PodView};

/// Answers one request.
pub(super) async fn answer(context: &Context, names: [&str; 3], query: LogQuery) -> Reply {
    let [namespace, pod, container] = names;
    let paths = match find(context.views.as_ref(), namespace, pod, container, query.previous) {
        Ok(paths) => paths,
        Err((code, reason)) => return text(code, reason),
    };
    let log = match open(context, paths, query).await {
        Ok(log) if query.follow => log.follow(context.views.clone(), context.stop.clone()),
        Ok(log) => log,
        Err(error) => {
            let code = match error.kind() {
                io::ErrorKind::NotFound => StatusCode::NOT_FOUND,
                _ => StatusCode::INTERNAL_SERVER_ERROR,
            };
            return text(
                code,
                format!("failed to open the log of container {container:?} in pod {pod:?}: {error}"),
            );
        }
    };
    plain(StatusCode::OK, Body::from_stream(log.into_stream()))
}

/// The first of the files that is there.
async fn open(context: &Context, paths: Vec<PathBuf>, query: LogQuery) -> io::Result<LogStream> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for path in paths {
        let file = LogFile::beneath(context.log_root.clone(), path);
        match LogStream::open(file, query.options).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => last = error,
            opened => return opened,
        }
    }
    Err(last)
}

/// The files that may hold the log, best first.
fn find(
    views: &dyn Views,
    namespace: &str,
    pod: &str,
    container: &str,
    previous: bool,
) -> Result<Vec<PathBuf>, Refusal> {
    let pods = views.pods();
    let named = pods.iter().filter(|known| known.namespace == namespace && known.name == pod);
    let uid = newest(named).ok_or_else(|| (StatusCode::NOT_FOUND, format!("pod {pod:?} does not exist")))?;
    let containers = views.explain(&uid.uid).map(|explained| explained.containers).unwrap_or_default();
    let found = containers.into_iter().find(|known| known.name == container).ok_or_else(|| {
        (StatusCode::NOT_FOUND, format!("container {container:?} not found in pod {pod:?}"))
    })?;
    logs(&found, pod, previous).map_err(|reason| (StatusCode::BAD_REQUEST, reason))
}

/// Of pods that have one name, the one that is not on its way out, else the youngest.
fn newest<'a>(pods: impl Iterator<Item = &'a PodView>) -> Option<&'a PodView> {
    pods.max_by_key(|pod| (pod.status != "Terminating", pod.started.is_none(), pod.started))
}

fn logs(container: &ContainerView, pod: &str, previous: bool) -> Result<Vec<PathBuf>, String> {
    let name = &container.name;
    let path = |log: &Option<String>| log.as_ref().map(PathBuf::from);
    let (newest, before) = (path(&container.log_path), path(&container.previous_log_path));
    // Between two instances the one that ended last is both the newest and the one before the next.
    let between = container.state == "Waiting" && container.last_exit_code.is_some();
    if between {
        return Ok(newest.into_iter().chain(before).collect());
    }
    if previous {
        let reason = format!("previous terminated container {name:?} in pod {pod:?} not found");
        return before.map(|path| vec![path]).ok_or(reason);
    }
    if container.state == "Waiting" {
        let reason = match container.reason.as_str() {
            "ErrImagePull" => "image can't be pulled",
            "ImagePullBackOff" => "trying and failing to pull image",
            other => other,
        };
        return Err(format!("container {name:?} in pod {pod:?} is waiting to start: {reason}"));
    }
    newest.map(|path| vec![path]).ok_or_else(|| format!("container {name:?} in pod {pod:?} is not available"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::fake::FakeViews;

    fn container(state: &str, reason: &str, restarts: u32) -> ContainerView {
        let views = FakeViews::default();
        views.add("web", Some("/logs/newest".into()));
        let container = views.containers().remove(0);
        ContainerView {
            state: state.to_owned(),
            reason: reason.to_owned(),
            last_exit_code: (restarts > 0).then_some(1),
            previous_log_path: (restarts > 0).then(|| "/logs/before".to_owned()),
            ..container
        }
    }

    fn check(state: &str, reason: &str, restarts: u32, previous: bool, wanted: Result<&[&str], &str>) {
        let found = logs(&container(state, reason, restarts), "web", previous);
        let wanted = wanted.map(|paths| paths.iter().map(PathBuf::from).collect()).map_err(str::to_owned);
        assert_eq!(found, wanted, "{state} {reason} {restarts} {previous}");
    }

    #[test]
    fn the_instance_that_is_meant_is_found() {
        check("Running", "", 0, false, Ok(&["/logs/newest"]));
        check("Running", "", 2, true, Ok(&["/logs/before"]));
        check("Terminated", "Error", 0, false, Ok(&["/logs/newest"]));
        let both: &[&str] = &["/logs/newest", "/logs/before"];
        check("Waiting", "CrashLoopBackOff", 1, true, Ok(both));
        check("Waiting", "CrashLoopBackOff", 1, false, Ok(both));
    }

    #[test]
    fn what_has_no_log_says_so_in_the_kubelets_words() {
        let none = Err("previous terminated container \"main\" in pod \"web\" not found");
        check("Running", "", 0, true, none);
        check("Terminated", "Error", 0, true, none);
        let waits = |reason: &str| format!("container \"main\" in pod \"web\" is waiting to start: {reason}");
        check("Waiting", "ContainerCreating", 0, false, Err(&waits("ContainerCreating")));
        check("Waiting", "ErrImagePull", 0, false, Err(&waits("image can't be pulled")));
        check("Waiting", "ImagePullBackOff", 0, false, Err(&waits("trying and failing to pull image")));
    }

    #[test]
    fn a30_only_pods_and_containers_of_this_node_are_found() {
        let views = FakeViews::default();
        views.add("web", Some("/logs/newest".into()));
        views.add("db", None);
        let find = |namespace: &str, pod: &str, container: &str| {
            find(&views, namespace, pod, container, false).map_err(|(code, reason)| (code.as_u16(), reason))
        };
        assert_eq!(find("default", "web-node1", "main"), Ok(vec!["/logs/newest".into()]));
        let no_pod = |pod: &str| Err((404, format!("pod {pod:?} does not exist")));
        assert_eq!(
            find("default", "web", "main"),
            no_pod("web"),
            "the name without its suffix is not the name"
        );
        assert_eq!(find("other", "web-node1", "main"), no_pod("web-node1"));
        assert_eq!(find("default", "uid-web", "main"), no_pod("uid-web"), "the UID is not the name");
        let no_container = Err((404, "container \"x\" not found in pod \"web-node1\"".to_owned()));
        assert_eq!(find("default", "web-node1", "x"), no_container);
    }
}
