//! What a kubelet relies on in kube-apiserver, as cases that run against the fake one in virtual time and, where
//! `PINNACE_TEST_CLUSTER` names the script of the development cluster, against a real one; and the tests of what
//! only the fake has.
//!
//! `PINNACE_TEST_CLUSTER_NAME` chooses the cluster (default `dev`); with `PINNACE_TEST_REQUIRE_CLUSTER=1` a missing
//! cluster fails instead of being skipped.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "a test fails by panicking"
)]

#[path = "../fake_api/mod.rs"]
mod fake_api;
#[path = "../tcp_proxy/mod.rs"]
mod tcp_proxy;

/// Makes of each case of a file a test against the fake and one against a real cluster.
macro_rules! cases {
    ($($case:ident),* $(,)?) => {
        mod fake {
            $(
                #[tokio::test(start_paused = true)]
                async fn $case() {
                    let cluster = crate::cluster::Cluster::fake().await;
                    super::$case(&cluster).await;
                }
            )*
        }
        mod real {
            $(
                #[tokio::test]
                async fn $case() {
                    let Some(cluster) = crate::cluster::Cluster::real(stringify!($case)).await else { return };
                    let case = std::panic::AssertUnwindSafe(super::$case(&cluster));
                    let outcome = futures::FutureExt::catch_unwind(case).await;
                    // Also after a failure: others use this cluster.
                    cluster.remove().await;
                    if let Err(panic) = outcome {
                        std::panic::resume_unwind(panic);
                    }
                }
            )*
        }
    };
}

mod cluster;
mod deletes;
mod faults;
mod leases;
mod lists;
mod network;
mod node_rules;
mod objects;
mod random;
mod sockets;
mod statuses;
mod tokens;
mod watchers;
mod watches;
mod wire;
