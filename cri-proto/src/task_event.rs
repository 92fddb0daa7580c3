//! What containerd's own events say of a container or a sandbox, for runtimes whose CRI has no event stream
//! (containerd 1.6 and before). Pure.
//!
//! They name the container by its id alone, a sandbox by the id of its first container, which is the sandbox's own.

use prost::Message;

use crate::id::ContainerId;
use crate::task_v1::{Envelope, TaskDelete, TaskExit, TaskStart};

/// Namespace in which containerd keeps what CRI made (`constants.K8sContainerdNamespace`).
const NAMESPACE: &str = "k8s.io";
/// Topics that are listened to (containerd, core/runtime/events.go).
const TOPICS: [&str; 4] = [START, EXIT, DELETE, OOM];
const START: &str = "/tasks/start";
const EXIT: &str = "/tasks/exit";
/// What follows an exit once containerd's CRI has taken note of it: from then on a look shows the exit.
const DELETE: &str = "/tasks/delete";
const OOM: &str = "/tasks/oom";

/// Something happened to a container or sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskEvent {
    /// Which one: a container's id, or a sandbox's.
    pub id: ContainerId,
    /// Whether its first process ended, or an end was taken note of.
    pub exit: bool,
}

/// What containerd is asked to send. Its grammar wants quotes around what is no plain word.
pub(crate) fn filters() -> Vec<String> {
    TOPICS.iter().map(|topic| format!("namespace==\"{NAMESPACE}\",topic==\"{topic}\"")).collect()
}

/// What an event says; none if it is of no interest or not to be understood.
pub(crate) fn read(envelope: &Envelope) -> Option<TaskEvent> {
    if envelope.namespace != NAMESPACE || !TOPICS.contains(&envelope.topic.as_str()) {
        return None;
    }
    let value = envelope.event.as_ref()?.value.as_slice();
    let (id, exit) = match envelope.topic.as_str() {
        EXIT => {
            let exit = TaskExit::decode(value).ok()?;
            (first_process(exit.container_id, &exit.id)?, true)
        }
        DELETE => {
            let delete = TaskDelete::decode(value).ok()?;
            (first_process(delete.container_id, &delete.id)?, true)
        }
        _ => (TaskStart::decode(value).ok()?.container_id, false),
    };
    Some(TaskEvent { id: ContainerId::new(&id).ok()?, exit })
}

/// The container, if it was its first process that ended and no probe's or other command's.
fn first_process(container: String, process: &str) -> Option<String> {
    (process.is_empty() || process == container).then_some(container)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::task_v1::Payload;

    fn envelope(namespace: &str, topic: &str, value: Vec<u8>) -> Envelope {
        let event = Some(Payload { type_url: String::new(), value });
        Envelope { namespace: namespace.to_owned(), topic: topic.to_owned(), event }
    }

    /// Text fields by number and value, as on the wire.
    fn fields(fields: &[(u8, &str)]) -> Vec<u8> {
        let field = |(number, text): &(u8, &str)| {
            [&[number << 3 | 2, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat()
        };
        fields.iter().flat_map(field).collect()
    }

    #[test]
    fn first_processes_count_and_executed_commands_do_not() {
        let told = |topic: &str, value| read(&envelope("k8s.io", topic, value));
        let event = |exit| Some(TaskEvent { id: ContainerId::new("abc").unwrap(), exit });
        assert_eq!(told(EXIT, fields(&[(1, "abc"), (2, "abc")])), event(true));
        assert_eq!(told(EXIT, fields(&[(1, "abc"), (2, "probe")])), None);
        assert_eq!(
            told(START, [fields(&[(1, "abc")]), vec![2 << 3, 7]].concat()),
            event(false),
            "with a pid"
        );
        assert_eq!(told(OOM, fields(&[(1, "abc")])), event(false));
        assert_eq!(told("/images/create", fields(&[(1, "abc")])), None);
        assert_eq!(told(EXIT, fields(&[(1, "../x"), (2, "../x")])), None);
        assert_eq!(read(&envelope("moby", OOM, fields(&[(1, "abc")]))), None);
        assert_eq!(read(&Envelope { event: None, ..envelope("k8s.io", OOM, Vec::new()) }), None);
    }

    proptest! {
        #[test]
        fn no_bytes_do_harm(value: Vec<u8>, topic in 0..TOPICS.len()) {
            let _either = read(&envelope("k8s.io", TOPICS[topic], value));
        }
    }
}
