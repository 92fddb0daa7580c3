//! Who calls, and whether the call is allowed. Pure.
//!
//! The rule, until callers are looked up at the API server: only the API server itself. It is known by its client
//! certificate, signed by the authority of `authentication.x509.clientCAFile`, in one of two ways: the organisation
//! `system:masters`, whom the API server itself lets do everything without a look (certificates that k3s and older
//! kubeadm issue), or one of the common names under which installers issue that certificate. Everybody else is
//! refused, nodes, administrators and service accounts included: they reach this node through the API server.

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The group that may do everything (`k8s.io/apiserver/pkg/authentication/user`, `SystemPrivilegedGroup`).
const MASTERS: &str = "system:masters";
/// Common names of the API server's certificate for kubelets: kubeadm's (`APIServerKubeletClientCertCommonName` in
/// `cmd/kubeadm/app/constants`), and the one that is usual elsewhere.
const API_SERVER: [&str; 2] = ["kube-apiserver-kubelet-client", "kube-apiserver"];

/// A caller with a verified certificate: the common name is the user, the organisations are the groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// User.
    pub user: String,
    /// Groups.
    pub groups: Vec<String>,
}

/// Who may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// The API server.
    ApiServer,
    /// Everybody, with or without credentials: the configuration says so in two places.
    Everybody,
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is answered.
    Allowed,
    /// 401: nobody knows who calls.
    Unknown,
    /// 403: the caller is known, and may not.
    Forbidden,
}

impl Access {
    /// What becomes of a call by `caller`, who has a verified certificate.
    #[must_use]
    pub fn verdict(self, caller: Option<&Caller>) -> Verdict {
        match (self, caller) {
            (Self::Everybody, _) => Verdict::Allowed,
            (Self::ApiServer, None) => Verdict::Unknown,
            (Self::ApiServer, Some(caller)) if caller.is_api_server() => Verdict::Allowed,
            (Self::ApiServer, Some(_)) => Verdict::Forbidden,
        }
    }
}

impl Caller {
    /// The subject of a certificate; none if it names nobody.
    #[must_use]
    pub fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let subject = parsed.subject();
        let user = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
        let groups = subject.iter_organization().filter_map(|group| group.as_str().ok());
        Some(Self { groups: groups.map(str::to_owned).collect(), user })
            .filter(|caller| !caller.user.is_empty())
    }

    fn is_api_server(&self) -> bool {
        API_SERVER.contains(&self.user.as_str()) || self.groups.iter().any(|group| group == MASTERS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(user: &str, groups: &[&str], wanted: Verdict) {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        let caller = Caller { user: user.to_owned(), groups };
        assert_eq!(Access::ApiServer.verdict(Some(&caller)), wanted, "{user}");
        assert_eq!(Access::Everybody.verdict(Some(&caller)), Verdict::Allowed, "{user}");
    }

    #[test]
    fn a02_only_the_api_server_is_let_in() {
        check("kube-apiserver-kubelet-client", &["kubeadm:cluster-admins"], Verdict::Allowed);
        check("kube-apiserver", &[], Verdict::Allowed);
        check("system:apiserver", &["system:masters"], Verdict::Allowed);
        check("kubernetes-admin", &["kubeadm:cluster-admins"], Verdict::Forbidden);
        check("system:node:n1", &["system:nodes"], Verdict::Forbidden);
        check("system:masters", &["system:authenticated"], Verdict::Forbidden);
        check("kube-apiserver2", &["system:masters2"], Verdict::Forbidden);
        assert_eq!(Access::ApiServer.verdict(None), Verdict::Unknown);
        assert_eq!(Access::Everybody.verdict(None), Verdict::Allowed);
    }

    #[test]
    fn what_is_no_certificate_is_nobody() {
        assert_eq!(Caller::of(&CertificateDer::from(vec![1, 2, 3])), None);
    }
}
