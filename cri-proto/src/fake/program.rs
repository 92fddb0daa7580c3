//! What a fake process does, step by step: the common form of scripts and of interpreted commands. Pure.

use std::time::Duration;

use super::script::{OnTerm, Output, Script, TERMINATED};

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Writes something.
    Print(Output),
    /// Waits.
    Sleep(Duration),
    /// Waits until it is killed.
    Forever,
    /// Ends.
    Exit(i32),
    /// Repeats the steps without end.
    Loop(Vec<Step>),
}

/// A process, from its start to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Program {
    pub(super) steps: Vec<Step>,
    pub(super) on_term: OnTerm,
    /// What it writes between SIGTERM and its end.
    pub(super) last_words: Vec<Output>,
    pub(super) oom: bool,
}

impl Program {
    pub(super) fn of_steps(steps: Vec<Step>) -> Self {
        Self { steps, on_term: TERMINATED, last_words: Vec::new(), oom: false }
    }

    pub(super) fn of_script(script: &Script) -> Self {
        let mut steps: Vec<Step> = script.output.iter().cloned().map(Step::Print).collect();
        match script.run_for {
            None => steps.push(Step::Forever),
            Some(time) => steps.extend([Step::Sleep(time), Step::Exit(script.exit_code)]),
        }
        Self { steps, on_term: script.on_term.clone(), last_words: Vec::new(), oom: script.oom }
    }
}

/// Walks through the steps of a program; a program that runs off its end exits with 0.
#[derive(Debug)]
pub(super) struct Player {
    /// What is still to do, the next step last.
    todo: Vec<Step>,
}

impl Player {
    pub(super) fn new(steps: Vec<Step>) -> Self {
        Self { todo: steps.into_iter().rev().collect() }
    }

    /// The next step that takes effect; never [`Step::Loop`].
    pub(super) fn advance(&mut self) -> Step {
        match self.todo.pop() {
            None => Step::Exit(0),
            Some(Step::Loop(body)) if waits(&body) => {
                self.todo.push(Step::Loop(body.clone()));
                self.todo.extend(body.into_iter().rev());
                self.advance()
            }
            // A loop that never waits would spin for ever within one instant of virtual time.
            Some(Step::Loop(_)) => Step::Forever,
            Some(step) => step,
        }
    }
}

fn waits(body: &[Step]) -> bool {
    body.iter().any(|step| match step {
        Step::Sleep(time) => !time.is_zero(),
        Step::Forever | Step::Exit(_) => true,
        Step::Loop(inner) => waits(inner),
        Step::Print(_) => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_repeats_and_a_busy_loop_is_a_wait() {
        let second = Step::Sleep(Duration::from_secs(1));
        let mut player = Player::new(vec![Step::Loop(vec![second.clone(), second.clone()])]);
        for _ in 0..5 {
            assert_eq!(player.advance(), second);
        }
        assert_eq!(Player::new(vec![Step::Loop(Vec::new())]).advance(), Step::Forever);
        assert_eq!(Player::new(Vec::new()).advance(), Step::Exit(0));
    }
}
