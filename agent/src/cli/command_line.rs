//! From the process's words to what it is asked to do.
//!
//! Started under the name `kubelet`, everything after the name is the kubelet's command line; else `run` and `check`
//! are followed by it. Everything else is clap's.

use std::ffi::OsString;
use std::path::Path;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

use super::args::{Arguments, Command};
use crate::config::command_line::table::{Flag, Kind, To};
use crate::config::command_line::words::UsageError;
use crate::config::command_line::{Extra, Translated, translate};

/// The name under which the process takes the kubelet's command line at once.
const KUBELET: &str = "kubelet";

/// What `check` takes beside the flags of `run`.
const OF_CHECK: [(Flag, char); 1] = [(Flag { name: "output", kind: Kind::Text, to: To::Argument }, 'o')];

/// What the process is asked to do.
#[derive(Debug)]
pub enum Asked {
    /// A command.
    To(Box<Arguments>),
    /// The kubelet's version, as `kubelet --version` prints it.
    KubeletVersion,
}

/// Reads the words that the process was started with, its name first.
pub fn read(words: impl IntoIterator<Item = OsString>) -> Result<Asked, clap::Error> {
    let mut words = words.into_iter().collect::<Vec<_>>();
    let name = words.first().map(Path::new).and_then(Path::file_name).unwrap_or_default();
    let is_kubelet = name == KUBELET;
    if is_kubelet {
        words.insert(1, "run".into());
    }
    let beside: &'static [(Flag, char)] = match words.get(1).and_then(|word| word.to_str()) {
        Some("run") => &[],
        Some("check") => &OF_CHECK,
        _ => return Arguments::try_parse_from(words).map(|arguments| Asked::To(Box::new(arguments))),
    };
    let flags = words.split_off(2);
    let flags =
        flags.into_iter().map(utf8).collect::<Result<Vec<_>, _>>().and_then(|flags| translate(flags, beside));
    let extra = match flags.map_err(|error| usage(&error))? {
        Translated::Help => {
            words.push("--help".into());
            Extra::default()
        }
        Translated::Version if is_kubelet => return Ok(Asked::KubeletVersion),
        Translated::Version => {
            words.push("--version".into());
            Extra::default()
        }
        Translated::Run { arguments, extra } => {
            words.extend(arguments.into_iter().map(OsString::from));
            extra
        }
    };
    let mut arguments = Arguments::try_parse_from(words)?;
    match &mut arguments.command {
        Command::Run(flags) => flags.extra = extra,
        Command::Check(args) => args.flags.extra = extra,
        _ => {}
    }
    Ok(Asked::To(Box::new(arguments)))
}

fn utf8(word: OsString) -> Result<String, UsageError> {
    word.into_string().map_err(|word| UsageError(format!("{:?} is not UTF-8", word.display().to_string())))
}

fn usage(error: &UsageError) -> clap::Error {
    let text = format!("{error}\n\nFor more information, try 'pinnace run --help'.\n");
    clap::Error::raw(ErrorKind::UnknownArgument, text).with_cmd(&Arguments::command())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::flags::RunFlags;

    fn run(line: &str) -> RunFlags {
        match read(line.split(' ').map(OsString::from)) {
            Ok(Asked::To(arguments)) => match arguments.command {
                Command::Run(flags) => *flags,
                other => panic!("{line}: {other:?}"),
            },
            other => panic!("{line}: {other:?}"),
        }
    }

    fn error(line: &str) -> String {
        read(line.split(' ').map(OsString::from)).unwrap_err().to_string()
    }

    #[test]
    fn under_the_kubelets_name_it_takes_the_kubelets_command_line() {
        for line in ["/usr/bin/kubelet --port=1 --v 4", "kubelet --port 1 -v=4", "pinnace run --port=1 -v4"] {
            let flags = run(line);
            assert_eq!(flags.verbosity, Some(4), "{line}");
            assert_eq!(flags.extra.keys, *json!({"port": 1}).as_object().unwrap(), "{line}");
        }
        assert!(run("kubelet --containerd=x").extra.warnings[0].starts_with("--containerd has no effect"));
        assert_eq!(run("kubelet"), run("pinnace run"));
    }

    #[test]
    fn the_version_is_the_kubelets_only_under_its_name() {
        assert!(matches!(read(["kubelet".into(), "--version".into()]), Ok(Asked::KubeletVersion)));
        let version = read(["pinnace".into(), "run".into(), "--version".into()]).unwrap_err();
        assert_eq!(version.kind(), ErrorKind::DisplayVersion);
    }

    #[test]
    fn mistakes_are_named_with_what_was_meant() {
        let text = error("kubelet --kubconfig=/x");
        assert!(text.starts_with("error: unknown flag --kubconfig; there is --kubeconfig\n"), "{text}");
        assert!(error("kubelet run").contains("unexpected argument \"run\""), "{}", error("kubelet run"));
        assert!(error("pinnace run --v=x").contains("--v=x: must be a whole number"));
        assert!(error("pinnace --port=1").contains("--port"));
        assert!(error("pinnace run --log-format=xml").contains("possible values"));
    }

    #[test]
    fn the_line_of_kubeadm_becomes_a_configuration() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        let head = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n";
        let keys = "authentication: {x509: {clientCAFile: pki/ca.crt}, webhook: {enabled: true, cacheTTL: 0s}}\n\
                    authorization: {mode: Webhook}\nrotateCertificates: true\n";
        std::fs::write(path("config.yaml"), format!("{head}{keys}")).unwrap();
        std::fs::write(path("kubelet.conf"), "").unwrap();
        let line = format!(
            "kubelet --bootstrap-kubeconfig=/no/such --kubeconfig={} --config={} --root-dir={} --port=10250 \
             --container-runtime-endpoint=unix:///var/run/containerd/containerd.sock --node-ip=10.0.0.4 \
             --pod-infra-container-image=images.test/pause:3.10",
            path("kubelet.conf"),
            path("config.yaml"),
            path("root")
        );
        let loaded = crate::config::load::load(&run(&line), "node-1", Path::new("/")).unwrap();
        let config = loaded.config;
        assert_eq!(config.kubeconfig, Some(path("kubelet.conf").into()));
        assert_eq!(config.cert_dir, Path::new(&path("root/pki")));
        let serving = config.serving.unwrap();
        assert_eq!(serving.client_ca, Some(path("pki/ca.crt").into()));
        assert_eq!((serving.address.port(), serving.open_to_all), (10_250, false));
        assert_eq!(
            loaded.warnings,
            [
                "--pod-infra-container-image has no effect here: the kubelet no longer has it since 1.35"
                    .to_owned(),
                format!("{}: set, but this version does not act on: rotateCertificates", path("config.yaml")),
            ]
        );
    }

    #[test]
    fn check_takes_the_flags_of_run_and_an_output() {
        let line = "pinnace check -o json --root-dir /x --port=1 --housekeeping-interval=1s";
        let Ok(Asked::To(arguments)) = read(line.split(' ').map(OsString::from)) else { panic!("{line}") };
        let Command::Check(args) = arguments.command else { panic!("{line}") };
        assert_eq!(args.flags.root_dir, Path::new("/x"));
        assert_eq!((args.output, args.flags.extra.warnings.len()), (super::super::args::Output::Json, 1));
    }
}
