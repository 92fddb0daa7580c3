//! Connections for watches, made as they are needed. A server carries about 100 requests on one HTTP/2 connection and
//! lets the rest wait without a word, so that watches are spread: so many on each, and calls on a connection of their
//! own.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::link::stack;
use super::transport::Transport;
use crate::chain::Chain;

/// The connections. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Connections(Arc<Mutex<Held>>);

enum Held {
    /// Over the network, with the settings of a kubeconfig once one was read.
    Own { config: Option<Box<kube::Config>>, made: Vec<(Transport, kube::Client)> },
    /// One client for all, for a server that has no connections.
    One(kube::Client),
}

impl Connections {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Held::Own { config: None, made: Vec::new() })))
    }

    /// All of them are this one.
    #[must_use]
    pub fn one(client: kube::Client) -> Self {
        Self(Arc::new(Mutex::new(Held::One(client))))
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A client over connection `index`, counted from 0. One that was not there is made with all before it.
    #[must_use]
    pub fn client(&self, index: usize) -> kube::Client {
        match &mut *self.held() {
            Held::One(client) => client.clone(),
            Held::Own { config, made } => {
                while made.len() <= index {
                    made.push(connection(config.as_deref()));
                }
                made.get(index).map_or_else(|| connection(config.as_deref()).1, |(_, client)| client.clone())
            }
        }
    }

    /// Settings that all are made with from now on. What goes over those that are there ends with an error.
    pub(super) fn install(&self, new: &kube::Config) {
        if let Held::Own { config, made } = &mut *self.held() {
            *config = Some(Box::new(new.clone()));
            made.iter().for_each(|(transport, _)| set(transport, new));
        }
    }
}

fn connection(config: Option<&kube::Config>) -> (Transport, kube::Client) {
    let transport = Transport::missing();
    if let Some(config) = config {
        set(&transport, config);
    }
    let client = kube::Client::new(transport.clone(), "default");
    (transport, client)
}

fn set(transport: &Transport, config: &kube::Config) {
    match stack(config) {
        Ok(stack) => transport.set(stack),
        // The link has made two of the same settings, and tells of what is wrong with them.
        Err(error) => transport.refuse(&Chain(&error).to_string()),
    }
}
