//! Runtimes that are late, wrong, or gone.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;

use pinnace_cri::fake::{FaultKind, FaultRule};

use crate::machine::{Machine, Said, sleeper};

fn names_the_fix(said: &Said) -> bool {
    said.err.contains("cri.sock") && said.err.contains("--container-runtime-endpoint")
}

#[tokio::test(flavor = "multi_thread")]
async fn b59_a_runtime_may_come_late_and_go_and_come_back() {
    let mut machine = Machine::new();
    machine.start();
    machine.write("web.json", &sleeper("web"));
    let said = machine.until(&["pods"], "the missing runtime is named with the fix", names_the_fix).await;
    assert!(said.out.contains("web-node1") && !said.out.contains("Running"), "{said:?}");
    let check = machine.ask(&check_arguments(&machine)).await;
    assert_eq!(check.code, Some(7), "{check:?}");
    assert!(
        check.out.contains("cri.sock") && check.out.contains("--container-runtime-endpoint"),
        "{check:?}"
    );

    machine.serve().await;
    let id = machine.until_running("web").await;
    machine.until(&["pods"], "all is well", |said| said.code == Some(0) && said.err.is_empty()).await;
    machine.unserve().await;
    machine.until(&["pods"], "the lost runtime is named", names_the_fix).await;
    machine.serve().await;
    machine.until(&["pods"], "all is well again", |said| said.err.is_empty()).await;
    assert_eq!(machine.until_running("web").await, id);
    machine.assert_alive();
}

#[tokio::test(flavor = "multi_thread")]
async fn b59_a_runtime_without_v1_is_named_and_waited_for() {
    let mut machine = Machine::new();
    let unimplemented = FaultKind::Error(12.into(), "unknown service runtime.v1.RuntimeService".to_owned());
    let fault = machine.fake.fault(FaultRule::on_any(unimplemented));
    machine.serve().await;
    machine.start();
    machine.write("web.json", &sleeper("web"));
    let named = |said: &Said| said.err.contains("does not speak CRI v1");
    machine.until(&["pods"], "the missing API is named", named).await;
    let check = machine.ask(&check_arguments(&machine)).await;
    assert_eq!(check.code, Some(7), "{check:?}");
    assert!(check.out.contains("disabled_plugins"), "{check:?}");
    machine.fake.remove_fault(fault);
    machine.until_running("web").await;
    machine.until(&["pods"], "all is well", |said| said.err.is_empty()).await;
    machine.assert_alive();
}

#[tokio::test(flavor = "multi_thread")]
async fn b59_a_socket_that_speaks_something_else_is_named_and_replaced() {
    let mut machine = Machine::new();
    let listener = UnixListener::bind(machine.path("cri.sock")).unwrap();
    // Ends with the test program.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _greeting = stream.read(&mut [0; 64]);
            let _hung_up = stream.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n");
        }
    });
    machine.start();
    machine.write("web.json", &sleeper("web"));
    machine.until(&["pods"], "the wrong socket is named", |said| said.err.contains("cri.sock")).await;
    let said = machine.ask(&["pods"]).await;
    assert!(names_the_fix(&said), "{said:?}");
    machine.serve().await;
    machine.until_running("web").await;
    machine.until(&["pods"], "all is well", |said| said.err.is_empty()).await;
    machine.assert_alive();
}

#[tokio::test(flavor = "multi_thread")]
async fn b59_a_path_that_is_no_socket_is_named_and_replaced() {
    let mut machine = Machine::new();
    std::fs::write(machine.path("cri.sock"), "a file").unwrap();
    machine.start();
    machine.write("web.json", &sleeper("web"));
    machine.until(&["pods"], "the file is named", names_the_fix).await;
    machine.serve().await;
    machine.until_running("web").await;
    machine.assert_alive();
}

/// `check` with the flags of this machine.
fn check_arguments(machine: &Machine) -> Vec<&'static str> {
    let flags = machine.flags().into_iter().map(|flag| &*flag.leak());
    std::iter::once("check").chain(flags).collect()
}
