//! A tiny shell: enough of one for what tests run in containers. Pure.
//!
//! Known: `sleep N|infinity`, `exit N`, `echo [-n] text`, `true`, `false`, `:`, `pgrep`, `trap '...' TERM`, `while true; do
//! ...; done`, `sh -c`, `;`, newlines, `&&`, `||`, quotes, and the redirections `>&2` and `1>&2`. Every command's
//! status is known beforehand, so the text is compiled to steps in one pass. Anything else is an unknown command.

use std::time::Duration;

use super::program::{Program, Step};
use super::script::{OnTerm, Output, Stream};
use super::words::{Token, tokens};

/// What an unknown command does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unknown {
    /// Runs until it is killed: the first process of a container whose image the fake cannot run.
    RunsForever,
    /// Is not found: a command that is run inside a container.
    NotFound,
}

/// What the given argument vector does; none if its program is unknown and `unknown` says so.
pub(super) fn interpret(argv: &[String], unknown: Unknown) -> Option<Program> {
    let mut compiler = Compiler::new(unknown);
    let known = match argv {
        [shell, flag, script, ..] if is_shell(shell) && flag.starts_with('-') && flag.ends_with('c') => {
            compiler.script(&tokens(script));
            true
        }
        _ => compiler.command(argv),
    };
    let status = compiler.status;
    (known || unknown == Unknown::RunsForever).then(|| compiler.finish(status))
}

fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn is_shell(path: &str) -> bool {
    matches!(base_name(path), "sh" | "bash" | "ash" | "dash")
}

/// Compiles commands to steps, knowing the status of the last one.
struct Compiler {
    unknown: Unknown,
    program: Program,
    status: i32,
    ended: bool,
}

impl Compiler {
    fn new(unknown: Unknown) -> Self {
        Self { unknown, program: Program::of_steps(Vec::new()), status: 0, ended: false }
    }

    fn finish(mut self, status: i32) -> Program {
        if !self.ended {
            self.program.steps.push(Step::Exit(status));
        }
        self.program
    }

    /// A list of commands joined by `;`, `&&` and `||`.
    fn script(&mut self, tokens: &[Token]) {
        let mut rest = tokens;
        let mut run = true;
        while !rest.is_empty() && !self.ended {
            let words = rest.iter().take_while(|token| token.is_word()).count();
            let (command, tail) = rest.split_at(words);
            let words: Vec<String> = command.iter().filter_map(Token::word).collect();
            if words.first().is_some_and(|word| word == "while" || word == "for") {
                rest = self.repeat(rest);
                continue;
            }
            if run && !words.is_empty() && !self.command(&words) && self.unknown == Unknown::NotFound {
                self.not_found(&words);
            }
            run = match tail.first() {
                Some(Token::And) => self.status == 0,
                Some(Token::Or) => self.status != 0,
                _ => true,
            };
            rest = tail.get(1..).unwrap_or_default();
        }
    }

    /// `while CONDITION; do BODY; done`, taken as endless; gives what follows it.
    fn repeat<'a>(&mut self, tokens: &'a [Token]) -> &'a [Token] {
        let at = |name: &str| tokens.iter().position(|token| token.word().as_deref() == Some(name));
        let begin = at("do").map_or(tokens.len(), |index| index.saturating_add(1));
        let end =
            tokens.iter().rposition(|token| token.word().as_deref() == Some("done")).unwrap_or(tokens.len());
        let mut body = Compiler::new(self.unknown);
        body.script(tokens.get(begin..end).unwrap_or_default());
        self.program.steps.push(Step::Loop(body.program.steps));
        self.ended = true;
        tokens.get(end.saturating_add(1)..).unwrap_or_default()
    }

    /// One simple command; says whether it is known.
    fn command(&mut self, words: &[String]) -> bool {
        let Some((name, arguments)) = words.split_first() else { return true };
        self.status = 0;
        match base_name(name) {
            "true" | ":" => {}
            // `pgrep` finds nothing: a command that was run in a container leaves no process behind.
            "false" | "pgrep" => self.status = 1,
            "exit" => self.end(Step::Exit(number(arguments).unwrap_or(0))),
            "sleep" => self.sleep(arguments),
            "echo" => self.echo(arguments),
            "trap" => self.trap(arguments),
            "exec" if !arguments.is_empty() => return self.command(arguments),
            shell if is_shell(shell) && arguments.len() > 1 => {
                if let Some(script) = arguments.get(1) {
                    self.script(&tokens(script));
                }
            }
            _ => {
                if self.unknown == Unknown::RunsForever {
                    self.end(Step::Forever);
                }
                return false;
            }
        }
        true
    }

    fn end(&mut self, step: Step) {
        self.program.steps.push(step);
        self.ended = true;
    }

    fn sleep(&mut self, arguments: &[String]) {
        let seconds = arguments.first().map_or("0", |text| text.trim_end_matches('s'));
        match seconds.parse::<f64>().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()) {
            Some(time) => self.program.steps.push(Step::Sleep(time)),
            None => self.end(Step::Forever),
        }
    }

    fn echo(&mut self, arguments: &[String]) {
        let mut stream = Stream::Stdout;
        let mut end = "\n";
        let mut words = Vec::new();
        for argument in arguments {
            match argument.as_str() {
                ">&2" | "1>&2" => stream = Stream::Stderr,
                "-n" if words.is_empty() => end = "",
                word => words.push(word),
            }
        }
        let text = format!("{}{end}", words.join(" "));
        self.program.steps.push(Step::Print(Output { stream, text }));
    }

    /// `trap 'ACTION' TERM`: an empty action ignores the signal.
    fn trap(&mut self, arguments: &[String]) {
        let Some((action, _)) = arguments.split_first() else { return };
        let mut body = Compiler::new(Unknown::NotFound);
        body.script(&tokens(action));
        let mut after = Duration::ZERO;
        let mut code = None;
        for step in &body.program.steps {
            match step {
                Step::Sleep(time) => after = after.saturating_add(*time),
                Step::Exit(status) => code = Some(*status),
                Step::Print(output) => self.program.last_words.push(output.clone()),
                Step::Forever | Step::Loop(_) => {}
            }
        }
        self.program.on_term = code.map_or(OnTerm::Ignore, |code| OnTerm::Exit { code, after });
    }

    fn not_found(&mut self, words: &[String]) {
        let name = words.first().map_or("", String::as_str);
        let text = format!("sh: {name}: not found\n");
        self.program.steps.push(Step::Print(Output { stream: Stream::Stderr, text }));
        // 127 is the shell's status for a command that it cannot find (POSIX, 2.8.2).
        self.status = 127;
    }
}

fn number(arguments: &[String]) -> Option<i32> {
    arguments.first()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::program::Player;
    use super::*;

    /// What a script does, in short: what it prints, how long it sleeps, how it ends.
    fn shown(script: &str, unknown: Unknown) -> String {
        let argv = ["sh", "-c", script].map(str::to_owned);
        let Some(program) = interpret(&argv, unknown) else { return "unknown".to_owned() };
        let mut player = Player::new(program.steps);
        let mut out = String::new();
        // A loop has no end: some steps show it.
        for _ in 0..6 {
            match player.advance() {
                Step::Print(Output { stream: Stream::Stdout, text }) => out += &format!("out {text:?}; "),
                Step::Print(Output { stream: Stream::Stderr, text }) => out += &format!("err {text:?}; "),
                Step::Sleep(time) => out += &format!("sleep {}; ", time.as_secs()),
                Step::Forever | Step::Loop(_) => return out + "for ever",
                Step::Exit(code) => return format!("{out}exit {code}"),
            }
        }
        out + "..."
    }

    #[test]
    fn scripts_do_what_a_shell_does() {
        for (script, does) in [
            ("echo x; sleep 1; exit 3", r#"out "x\n"; sleep 1; exit 3"#),
            ("true && echo yes || echo no", r#"out "yes\n"; exit 0"#),
            ("false && echo yes || echo no", r#"out "no\n"; exit 0"#),
            ("false", "exit 1"),
            ("false; true", "exit 0"),
            ("exit 2; echo never", "exit 2"),
            ("echo -n a b 1>&2", r#"err "a b"; exit 0"#),
            ("sleep infinity", "for ever"),
            (
                "while true; do echo x; sleep 5; done",
                r#"out "x\n"; sleep 5; out "x\n"; sleep 5; out "x\n"; sleep 5; ..."#,
            ),
            ("exec sleep 7", "sleep 7; exit 0"),
            ("/bin/sh -c 'exit 9'", "exit 9"),
        ] {
            assert_eq!(shown(script, Unknown::RunsForever), does, "{script}");
        }
        assert_eq!(shown("echo a; nginx", Unknown::RunsForever), r#"out "a\n"; for ever"#);
        assert_eq!(shown("nginx || exit 4", Unknown::NotFound), r#"err "sh: nginx: not found\n"; exit 4"#);
    }

    #[test]
    fn traps_say_what_sigterm_does() {
        let on_term = |script: &str| {
            let argv = ["sh", "-c", script].map(str::to_owned);
            interpret(&argv, Unknown::RunsForever).map(|program| program.on_term)
        };
        let exit = |code, seconds| Some(OnTerm::Exit { code, after: Duration::from_secs(seconds) });
        assert_eq!(on_term("trap '' TERM; sleep infinity"), Some(OnTerm::Ignore));
        assert_eq!(on_term("trap 'exit 7' TERM; sleep infinity"), exit(7, 0));
        assert_eq!(on_term("trap 'echo bye; sleep 2; exit 0' TERM; sleep infinity"), exit(0, 2));
        assert_eq!(on_term("sleep infinity"), exit(143, 0));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_some_program(script in "[a-z0-9 ;&|'\"\\\n>]{0,60}|(while|do|done|sh -c|trap|echo|sleep|;| )*") {
            shown(&script, Unknown::RunsForever);
            shown(&script, Unknown::NotFound);
        }
    }
}
