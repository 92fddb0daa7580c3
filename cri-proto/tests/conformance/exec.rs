//! Commands in running containers.

use std::sync::Arc;
use std::time::Duration;

use crate::bench::{Bench, IGNORES, Outcome, check};

const LIMIT: Duration = Duration::from_secs(10);

fn words(line: &[&str]) -> Vec<String> {
    line.iter().map(|word| (*word).to_owned()).collect()
}

pub(crate) async fn a_command_has_output_and_an_exit_code(bench: Arc<Bench>) -> Outcome {
    let pod = bench.pod().await?;
    let container = bench.start(&pod, "main", &IGNORES).await?;
    let answer = bench.client.exec_sync(&container, words(&["echo", "hello"]), LIMIT).await?;
    check!(answer.stdout == b"hello\n" && answer.stderr.is_empty() && answer.exit_code == 0, "{answer:?}");
    let line = words(&["sh", "-c", "echo out; echo err >&2; exit 5"]);
    let answer = bench.client.exec_sync(&container, line, LIMIT).await?;
    check!(answer.stdout == b"out\n" && answer.stderr == b"err\n" && answer.exit_code == 5, "{answer:?}");
    let answer = bench.client.exec_sync(&container, words(&["false"]), LIMIT).await?;
    check!(answer.exit_code == 1, "{answer:?}");
    Ok(())
}

pub(crate) async fn a_command_that_takes_too_long_is_a_timeout(bench: Arc<Bench>) -> Outcome {
    let pod = bench.pod().await?;
    let container = bench.start(&pod, "main", &IGNORES).await?;
    let slow = bench.client.exec_sync(&container, words(&["sleep", "30"]), Duration::from_secs(1)).await;
    check!(slow.as_ref().is_err_and(|error| error.is_timeout()), "{slow:?}");
    let answer = bench.client.exec_sync(&container, words(&["true"]), LIMIT).await?;
    check!(answer.exit_code == 0, "{answer:?}");
    Ok(())
}

pub(crate) async fn a_command_that_is_not_there_is_an_error(bench: Arc<Bench>) -> Outcome {
    let pod = bench.pod().await?;
    let container = bench.start(&pod, "main", &IGNORES).await?;
    let answer = bench.client.exec_sync(&container, words(&["no-such-command"]), LIMIT).await;
    check!(answer.as_ref().is_err_and(|error| !error.is_not_found() && !error.is_timeout()), "{answer:?}");
    bench.client.stop_container(&container, Duration::ZERO).await?;
    let answer = bench.client.exec_sync(&container, words(&["true"]), LIMIT).await;
    check!(answer.is_err(), "a command ran in a container that had exited");
    Ok(())
}
