//! A command line in pflag's grammar, taken apart by the table of flags. Pure.
//!
//! `--flag=value`, `--flag value`, `--switch`, `--switch=false`; `-v 4`, `-v=4`, `-v4`, `-h`; `--` ends the flags.
//! Underscores in names count as hyphens. There are no arguments that are no flags.

use super::table::{Flag, Kind, all, find};

/// One flag as it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// The flag.
    pub flag: &'static Flag,
    /// Its text; `true` for a switch that stands alone.
    pub text: String,
}

/// What a command line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Words {
    /// The help text.
    Help,
    /// To do it with these flags, in their order.
    Flags(Vec<Given>),
}

/// What is wrong with a command line, in one or two lines.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

/// Takes a command line apart. `beside` are flags that the command takes beside those of the table, with their
/// short form.
pub fn read(
    arguments: impl IntoIterator<Item = String>,
    beside: &'static [(Flag, char)],
) -> Result<Words, UsageError> {
    let mut rest = arguments.into_iter();
    let mut given = Vec::new();
    while let Some(word) = rest.next() {
        let (flag, text) = if word == "--" {
            match rest.next() {
                Some(word) => return Err(stray(&word)),
                None => break,
            }
        } else if let Some(long) = word.strip_prefix("--") {
            let (name, text) = split(long);
            if name == "help" {
                return Ok(Words::Help);
            }
            (look_up(name, beside)?, text)
        } else if let Some(short) = word.strip_prefix('-').filter(|short| !short.is_empty()) {
            match shorthand(short, beside)? {
                Some(found) => found,
                None => return Ok(Words::Help),
            }
        } else {
            return Err(stray(&word));
        };
        let text = match text {
            Some(text) => text,
            None if flag.kind == Kind::Switch => "true".to_owned(),
            None => rest.next().ok_or_else(|| UsageError(format!("--{} needs a value", flag.name)))?,
        };
        given.push(Given { flag, text });
    }
    Ok(Words::Flags(given))
}

fn split(word: &str) -> (&str, Option<String>) {
    match word.split_once('=') {
        Some((name, text)) => (name, Some(text.to_owned())),
        None => (word, None),
    }
}

fn stray(word: &str) -> UsageError {
    UsageError(format!("unexpected argument {word:?}: only flags are taken"))
}

fn look_up(name: &str, beside: &'static [(Flag, char)]) -> Result<&'static Flag, UsageError> {
    let own = beside.iter().map(|(flag, _)| flag).find(|flag| flag.name == name);
    own.or_else(|| find(name)).ok_or_else(|| {
        let near = nearest(name).map(|near| format!("; there is --{near}")).unwrap_or_default();
        UsageError(format!("unknown flag --{name}{near}"))
    })
}

/// What `-x...` means; none for help.
fn shorthand(
    short: &str,
    beside: &'static [(Flag, char)],
) -> Result<Option<(&'static Flag, Option<String>)>, UsageError> {
    let mut letters = short.chars();
    let letter = letters.next().unwrap_or_default();
    let rest = letters.as_str();
    let known = match letter {
        'h' if rest.is_empty() => return Ok(None),
        'v' => find("v"),
        other => beside.iter().find(|(_, short)| *short == other).map(|(flag, _)| flag),
    };
    let known =
        known.filter(|_| rest.is_empty() || find(split(short).0).is_none() || short.starts_with("v="));
    let Some(flag) = known else {
        let hint =
            if find(split(short).0).is_some() { format!("; did you mean --{short}?") } else { String::new() };
        return Err(UsageError(format!("unknown flag -{short}{hint}")));
    };
    let text = rest.strip_prefix('=').unwrap_or(rest);
    Ok(Some((flag, (!rest.is_empty()).then(|| text.to_owned()))))
}

/// The known name that is most like this one, if one is alike at all.
fn nearest(name: &str) -> Option<&'static str> {
    let name = name.replace('_', "-");
    let near = all().map(|flag| (distance(&name, flag.name), flag.name)).min()?;
    let length = name.chars().count().max(3);
    (near.0 <= length / 3).then_some(near.1)
}

/// Edits that turn one text into the other (Levenshtein).
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (line, letter) in from.chars().enumerate() {
        let mut corner = line;
        let mut left = line.saturating_add(1);
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (other, cell) in to.iter().zip(row.iter_mut().skip(1)) {
            let change = corner.saturating_add(usize::from(*other != letter));
            corner = *cell;
            left = change.min(left.saturating_add(1)).min(corner.saturating_add(1));
            *cell = left;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::table::{Kind, To};
    use super::*;

    const BESIDE: [(Flag, char); 1] = [(Flag { name: "output", kind: Kind::Text, to: To::Argument }, 'o')];

    fn words(line: &str) -> Result<Words, String> {
        read(line.split_whitespace().map(str::to_owned), &BESIDE).map_err(|error| error.to_string())
    }

    fn check(line: &str, wanted: &[(&str, &str)]) {
        let Words::Flags(given) = words(line).unwrap() else { panic!("{line:?} asks for help") };
        let given: Vec<_> = given.iter().map(|given| (given.flag.name, given.text.as_str())).collect();
        assert_eq!(given, wanted, "{line}");
    }

    #[test]
    fn every_form_of_a_flag_is_read() {
        check("--port=1 --port 2", &[("port", "1"), ("port", "2")]);
        check("--register-node --port 2", &[("register-node", "true"), ("port", "2")]);
        check("--register-node=false --config=", &[("register-node", "false"), ("config", "")]);
        check("--root_dir=/x --eviction-hard a<b=c", &[("root-dir", "/x"), ("eviction-hard", "a<b=c")]);
        check("--v=4 -v 5 -v=6 -v7", &[("v", "4"), ("v", "5"), ("v", "6"), ("v", "7")]);
        check("--pod-max-pids -1 -o json --", &[("pod-max-pids", "-1"), ("output", "json")]);
        assert_eq!(words("--port=1 --help --nonsense"), Ok(Words::Help));
        assert_eq!(words("-h"), Ok(Words::Help));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error = |line: &str| words(line).unwrap_err();
        assert_eq!(error("--kubconfig=/x"), "unknown flag --kubconfig; there is --kubeconfig");
        assert_eq!(error("--no-such-thing-anywhere"), "unknown flag --no-such-thing-anywhere");
        assert_eq!(error("-config=/x"), "unknown flag -config=/x; did you mean --config=/x?");
        assert_eq!(error("-x"), "unknown flag -x");
        assert_eq!(error("--port"), "--port needs a value");
        assert_eq!(error("start"), "unexpected argument \"start\": only flags are taken");
        assert_eq!(error("--register-node false"), "unexpected argument \"false\": only flags are taken");
        assert_eq!(error("-- x"), "unexpected argument \"x\": only flags are taken");
    }

    #[test]
    fn distances_are_counted() {
        for (from, to, wanted) in [("", "", 0), ("a", "", 1), ("kitten", "sitting", 3), ("ab", "ba", 2)] {
            assert_eq!(distance(from, to), wanted, "{from} {to}");
        }
    }

    proptest! {
        #[test]
        fn no_words_panic(line in prop::collection::vec("-{0,2}[a-z_=,-]{0,12}", 0..4)) {
            let _ = read(line, &BESIDE);
        }
    }
}
