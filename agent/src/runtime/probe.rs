//! One question to the runtime, for `pinnace check`.

use std::path::Path;
use std::time::Duration;

use pinnace_cri::client::{Client, Deadlines};

use crate::chain::Chain;
use crate::check::runtime::RuntimeAnswer;
use crate::runtime::strangers;

/// A person waits for the answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// Name, version and conditions of the runtime at `socket`, and for a virtual node whether a kubelet uses it; the error
/// is the whole chain of what failed.
pub async fn ask(socket: &Path, is_virtual: bool) -> Result<RuntimeAnswer, String> {
    let deadlines = Deadlines { inspect: PATIENCE, ..Deadlines::default() };
    let endpoint = socket.display().to_string();
    let client =
        Client::connect_lazy(&endpoint, None, deadlines).map_err(|error| Chain(&error).to_string())?;
    let version = client.version().await.map_err(|error| Chain(&error).to_string())?;
    let status = client.status(false).await.map_err(|error| Chain(&error).to_string())?;
    let strangers = match is_virtual {
        true => Some(strangers::count(&client).await.map_err(|error| Chain(&error).to_string())?),
        false => None,
    };
    let conditions = status.status.map(|status| status.conditions).unwrap_or_default();
    let is_true =
        |kind: &str| conditions.iter().any(|condition| condition.r#type == kind && condition.status);
    let messages =
        conditions.iter().filter(|condition| !condition.status).map(|condition| condition.message.as_str());
    Ok(RuntimeAnswer {
        name: version.runtime_name,
        version: version.runtime_version,
        api_version: version.runtime_api_version,
        runtime_ready: is_true("RuntimeReady"),
        network_ready: is_true("NetworkReady"),
        strangers,
        message: messages.collect::<Vec<_>>().join("; "),
    })
}
