//! The API server can be taken away and brought back.

use crate::control_plane::ControlPlane;
use crate::namespace::fake_node;

pub(crate) fn the_api_server_goes_and_comes_back_with_its_objects(_shared: &ControlPlane) {
    let cluster = ControlPlane::own("outage");
    let _node = fake_node(&cluster, "node-of-outage", "outage");
    let before = cluster.get(&["node", "node-of-outage"]).expect("a node");

    cluster.apiserver_stop();
    let error = cluster.get(&["node", "node-of-outage"]).expect_err("nobody serves");
    assert!(error.contains("refused"), "{error}");

    cluster.apiserver_start();
    let after = cluster.get(&["node", "node-of-outage"]).expect("a node");
    assert_eq!(before["metadata"]["uid"], after["metadata"]["uid"]);
}
