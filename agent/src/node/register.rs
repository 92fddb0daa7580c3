//! Makes the node's object, or takes the one that is there. One attempt at a time; when to try again is the caller's.

use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::Patch;

use super::call::{CallError, patching, posting, within};
use super::known::Known;
use super::patch;
use super::refusal::{Refusal, examine};
use crate::api::decoded::Decoded;
use crate::api::patience::CALL;
use crate::config::node::NodeSettings;
use crate::host::machine::Machine;

/// Why the node is not registered.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// A call failed.
    #[error("failed to register the node")]
    Call(#[from] CallError),
    /// The object that is there is not this node's.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The node does not register itself, and nobody else has made the object yet.
    #[error("node {0} is not in the API yet, and registerNode is false: waiting for it to be made")]
    Absent(String),
}

/// How the object came to be this node's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registered {
    /// It was made, with its whole status.
    Made,
    /// It was there.
    Found,
}

/// Registers the node.
#[derive(Debug, Clone)]
pub struct Registrar {
    api: Api<Decoded<Node>>,
    known: Known,
    /// The root directory was made by this start: extended resources of the time before are gone.
    is_new_root: bool,
}

impl Registrar {
    /// What it finds and makes, it tells `known`.
    #[must_use]
    pub fn new(client: kube::Client, known: Known, is_new_root: bool) -> Self {
        Self { api: Api::all(client), known, is_new_root }
    }

    /// Makes the object, or reconciles the one that is there
    /// (`tryRegisterWithAPIServer` in `pkg/kubelet/kubelet_node_status.go`).
    pub async fn attempt(
        &self,
        initial: &Node,
        machine: &Machine,
        settings: &NodeSettings,
    ) -> Result<Registered, RegisterError> {
        let mut refused = None;
        if settings.register {
            let params = posting();
            let wanted = Decoded(initial.clone());
            let made = self.api.create(&params, &wanted);
            match within("make the node's object", CALL, made).await {
                Ok(Decoded(node)) => {
                    self.known.learn(node);
                    return Ok(Registered::Made);
                }
                Err(error) if error.may_exist() => refused = Some(error),
                Err(error) => return Err(error.into()),
            }
        }
        let name = initial.metadata.name.clone().unwrap_or_default();
        let read = self.api.get_opt(&name);
        let existing = match (within("read the node's object", CALL, read).await?, refused) {
            (Some(Decoded(existing)), _) => existing,
            (None, Some(refused)) => return Err(refused.into()),
            (None, None) => return Err(RegisterError::Absent(name)),
        };
        examine(&existing, machine, settings.is_virtual)?;
        self.reconcile(&name, existing, initial).await?;
        Ok(Registered::Found)
    }

    async fn reconcile(&self, name: &str, existing: Node, initial: &Node) -> Result<(), CallError> {
        let Some(patch) = patch::at_start(&existing, initial, self.is_new_root) else {
            self.known.learn(existing);
            return Ok(());
        };
        let (params, patch) = (patching(), Patch::Strategic(&patch));
        let patched = self.api.patch_status(name, &params, &patch);
        let Decoded(patched) = within("reconcile the node's object", CALL, patched).await?;
        self.known.learn(patched);
        Ok(())
    }
}
