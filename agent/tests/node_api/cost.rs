//! What an idle node costs the API server.

use std::time::Duration;

use tokio::time::sleep;

use crate::fake_api::FakeApi;
use crate::harness::{Make, NODE, sleeper};
use crate::rig::{LEASES, Whole};

#[tokio::test(start_paused = true)]
async fn b68_idle_minutes_with_110_pods() {
    let (make, api) = (Make::new(), FakeApi::new());
    let pods: Vec<_> = (0..110).map(|n| sleeper(&format!("p{n}"))).collect();
    let whole = Whole::start(&make, &api, &pods);
    whole.agent.until_running("p109").await;
    sleep(Duration::from_secs(300)).await;
    let from = api.requests_so_far();
    // The whole hour is `node::tests::writes`' matter; with this many pods it would take minutes to simulate.
    sleep(Duration::from_secs(1_200)).await;
    let idle = api.requests().split_off(from);
    let writes = |resource: &str| -> Vec<_> {
        idle.iter()
            .filter(|request| request.is_write() && request.resource == resource)
            .map(|request| request.at)
            .collect()
    };
    let (leases, statuses) = (writes(LEASES), writes("nodes"));
    assert!((113..=121).contains(&leases.len()), "{} renewals", leases.len());
    let near = |gap: Duration| (9.0..=11.0).contains(&gap.as_secs_f64());
    assert!(leases.windows(2).all(|pair| near(pair[1] - pair[0])), "{leases:?}");
    assert!(statuses.len() <= 4, "{} statuses of {NODE}", statuses.len());
    assert_eq!(writes("pods").len(), 0);
    whole.stop().await;
}
