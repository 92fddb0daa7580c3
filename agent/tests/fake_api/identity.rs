//! Who asks.

/// The user behind a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// system:masters: everything is allowed.
    Admin,
    /// system:node:NAME, bound by the Node authorizer and NodeRestriction.
    Node(String),
}

impl Identity {
    /// The user name, as messages show it.
    pub fn user(&self) -> String {
        match self {
            Self::Admin => "kubernetes-admin".to_owned(),
            Self::Node(name) => format!("system:node:{name}"),
        }
    }
}
