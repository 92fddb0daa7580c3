//! A process that dies at a chosen one of its system calls: this test program again, traced. It dies on its way into
//! the call, so that what was done is exactly the calls before it.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};

use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, gettid};

/// Variable: what the process is to do.
const TASK: &str = "PINNACE_TEST_VICTIM";

/// What became of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    /// System calls that it made.
    pub(super) calls: u64,
    /// It was through with its work before the fatal call.
    pub(super) finished: bool,
}

/// In the process itself: waits until it is traced, does its work and dies. Nothing without a task.
pub(super) fn obey(perform: impl FnOnce(&str)) {
    let Ok(task) = std::env::var(TASK) else { return };
    writeln!(std::io::stderr(), "{}", gettid()).expect("a parent that reads");
    // The end of input is the end of the parent.
    if std::io::stdin().read(&mut [0]).expect("input") > 0 {
        perform(&task);
        kill(Pid::this(), Signal::SIGKILL).expect("an end without any cleaning up");
    }
}

/// Has `task` done by the process whose test is `test`, which dies at this call, counted from 0; without one it lives.
pub(super) fn run(test: &str, task: &str, fatal: Option<u64>) -> End {
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", test, "--test-threads=1", "--nocapture"])
        .env(TASK, task)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("this program again");
    let end = traced(&mut child, fatal);
    // Reaped already if its first thread was the traced one.
    let _ = child.wait();
    end
}

fn traced(child: &mut Child, fatal: Option<u64>) -> End {
    let mut words = BufReader::new(child.stderr.take().expect("a pipe"));
    let mut line = String::new();
    words.read_line(&mut line).expect("its first word");
    let thread = Pid::from_raw(line.trim().parse().unwrap_or_else(|_| panic!("{line:?} is no thread")));
    ptrace::seize(thread, Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_EXITKILL).expect("a tracer");
    ptrace::interrupt(thread).expect("a process that stands still");
    assert!(matches!(next(thread), WaitStatus::PtraceEvent(..)));
    child.stdin.take().expect("a pipe").write_all(b"\n").expect("a process that waits for it");
    let (mut calls, mut within, mut signal) = (0, false, None);
    loop {
        ptrace::syscall(thread, signal.take()).expect("a process that goes on");
        match next(thread) {
            WaitStatus::PtraceSyscall(_) => {
                within = !within;
                if within && fatal == Some(calls) {
                    let _ = kill(Pid::from_raw(i32::try_from(child.id()).expect("an id")), Signal::SIGKILL);
                    while !is_end(next(thread)) {}
                    return End { calls, finished: false };
                }
                calls += u64::from(within);
            }
            WaitStatus::Stopped(_, sent) => signal = Some(sent),
            end if is_end(end) => {
                assert!(
                    matches!(end, WaitStatus::Signaled(_, Signal::SIGKILL, _)),
                    "the process failed: {}",
                    words.lines().map_while(Result::ok).collect::<Vec<_>>().join("\n")
                );
                return End { calls, finished: true };
            }
            _ => {}
        }
    }
}

fn is_end(status: WaitStatus) -> bool {
    matches!(status, WaitStatus::Exited(..) | WaitStatus::Signaled(..))
}

/// What happens to the thread next, whether or not it is its process's first.
fn next(thread: Pid) -> WaitStatus {
    waitpid(thread, Some(WaitPidFlag::__WALL)).expect("a traced process")
}
