//! Programs as shell scripts: what they are asked, what is kept of their answers, and what nobody sees.

use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use pinnace_cri::id::PodUid;

use super::*;
use crate::image::keyring::ObjectName;
use crate::objects::Objects;
use crate::source::desired::{DesiredPod, Origin};
use crate::volume::plan::tests::pod_with;
use crate::volume::token::tests::at;
use config::{load, parse};

const V1: &str = "credentialprovider.kubelet.k8s.io/v1";

struct Site {
    dir: tempfile::TempDir,
}

impl Site {
    /// One provider whose program is this script.
    fn new(script: &str, entry: serde_json::Value) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("bin")).unwrap();
        let program = dir.path().join("bin/ask");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut provider =
            json!({"name": "ask", "matchImages": ["*.x"], "defaultCacheDuration": "1h", "apiVersion": V1});
        provider.as_object_mut().unwrap().extend(entry.as_object().unwrap().clone());
        std::fs::write(dir.path().join("config.yaml"), file(&[provider])).unwrap();
        Self { dir }
    }

    fn plugins(&self) -> Plugins {
        load(&self.dir.path().join("config.yaml"), &self.dir.path().join("bin"), true).unwrap()
    }

    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.dir.path().join(name)).unwrap_or_default()
    }

    /// A script that notes that it was called and answers.
    fn answering(answer: &serde_json::Value, entry: serde_json::Value) -> Self {
        let script = format!(
            "dir=$(dirname $0)/..; cat > $dir/asked; echo x >> $dir/calls; env > $dir/env; echo $@ > $dir/args; cat <<END\n{answer}\nEND"
        );
        Self::new(&script, entry)
    }
}

fn file(providers: &[serde_json::Value]) -> String {
    json!({"kind": "CredentialProviderConfig", "apiVersion": "kubelet.config.k8s.io/v1", "providers": providers}).to_string()
}

fn answer(scope: &str, extra: serde_json::Value) -> serde_json::Value {
    let mut answer = json!({"kind": "CredentialProviderResponse", "apiVersion": V1, "cacheKeyType": scope,
        "auth": {"reg.x": {"username": "u", "password": "c4nary"}, "other.x/a": {"username": "o", "password": "p"}}});
    answer.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    answer
}

async fn users(plugins: &Plugins, repository: &str) -> Vec<String> {
    let pod = DesiredPod {
        uid: PodUid::new("u1").unwrap(),
        namespace: "ns".into(),
        name: "web".into(),
        origin: Origin::File("/m".into()),
        pod: Arc::new(pod_with(json!([]))),
        held: Vec::new(),
    };
    let (objects, now) = (Objects::default(), at(0));
    let asker = Asker { pod: &pod, objects: &objects, now: &now };
    plugins.lookup(repository, asker).await.into_iter().map(|credential| credential.login.username).collect()
}

/// Attributes of a provider that is given tokens.
fn with_tokens(cache: &str, required: bool) -> serde_json::Value {
    json!({"tokenAttributes": {"serviceAccountTokenAudience": "reg", "cacheType": cache, "requireServiceAccount": required}})
}

fn identity(account: (&str, &str), annotation: &str, token: &str) -> Identity {
    let account = ObjectName { uid: account.1.into(), namespace: "ns".into(), name: account.0.into() };
    let annotations = [("key".to_owned(), annotation.to_owned())].into();
    Identity { account, annotations, token: token.into() }
}

#[tokio::test]
async fn a_program_is_asked_about_images_that_it_is_for_and_its_answer_kept() {
    let entry = json!({"args": ["one", "two"], "env": [{"name": "OWN", "value": "mine"}]});
    let site = Site::answering(&answer("Registry", json!({})), entry);
    let plugins = site.plugins();
    assert!(users(&plugins, "reg.y/a").await.is_empty());
    assert_eq!(site.text("calls"), "");
    assert_eq!(users(&plugins, "reg.x/a").await, ["u"]);
    let asked: serde_json::Value = serde_json::from_str(&site.text("asked")).unwrap();
    assert_eq!(asked, json!({"kind": "CredentialProviderRequest", "apiVersion": V1, "image": "reg.x/a"}));
    assert_eq!(site.text("args"), "one two\n");
    let env = site.text("env");
    assert!(env.contains("OWN=mine") && env.contains("PATH="), "{env}");
    assert_eq!(users(&plugins, "reg.x/b").await, ["u"]);
    assert_eq!(site.text("calls"), "x\n");
    assert_eq!(users(&plugins, "other.x/a").await, ["o"]);
    assert_eq!(site.text("calls"), "x\nx\n");
}

#[tokio::test]
async fn an_answer_says_for_what_and_how_long_it_is() {
    for (scope, extra, calls) in [
        ("Image", json!({}), 2),
        ("Global", json!({}), 1),
        ("Global", json!({"cacheDuration": "0s"}), 3),
        ("Registry", json!({"cacheDuration": "1h"}), 1),
    ] {
        let site = Site::answering(&answer(scope, extra.clone()), json!({}));
        let plugins = site.plugins();
        for repository in ["reg.x/a", "reg.x/b", "reg.x/a"] {
            assert_eq!(users(&plugins, repository).await, ["u"], "{scope} {extra}");
        }
        assert_eq!(site.text("calls").lines().count(), calls, "{scope} {extra}");
    }
}

#[tokio::test]
async fn pods_that_ask_together_ask_once() {
    let site = Site::answering(&answer("Image", json!({})), json!({}));
    let plugins = site.plugins();
    let all = futures::future::join_all((0..8).map(|_| users(&plugins, "reg.x/a"))).await;
    assert!(all.iter().all(|users| users == &["u"]));
    assert_eq!(site.text("calls"), "x\n");
}

/// A program that answers with what it was asked as the password.
fn echoing(cache: &str) -> Site {
    let script = "asked=$(cat); dir=$(dirname $0)/..; echo x >> $dir/calls; echo \"$asked\" > $dir/asked
        token=$(echo \"$asked\" | sed 's/.*serviceAccountToken\":\"\\([^\"]*\\).*/\\1/')
        echo '{\"kind\": \"CredentialProviderResponse\", \"apiVersion\": \"credentialprovider.kubelet.k8s.io/v1\", \"cacheKeyType\": \"Global\",'
        echo \"\\\"auth\\\": {\\\"reg.x\\\": {\\\"username\\\": \\\"$SALT$token\\\", \\\"password\\\": \\\"$SALT$token\\\"}}}\"";
    let mut entry = with_tokens(cache, true);
    entry["env"] = json!([{"name": "SALT", "value": if cache == "Token" { "" } else { "of-" }}]);
    Site::new(script, entry)
}

#[tokio::test]
async fn a47_an_answer_to_one_accounts_token_is_never_for_another() {
    for (cache, kept) in [("ServiceAccount", true), ("Token", false)] {
        let site = echoing(cache);
        let plugins = site.plugins();
        let plugin = &plugins.0[0];
        let ask = async |account, annotation, token: &str| {
            let found = plugin
                .keyring_for("reg.x/a", Some(identity(account, annotation, token)))
                .await
                .lookup("reg.x/a");
            let source = found[0].source.clone();
            assert!(
                matches!(source, Some(Source::Account(name)) if (name.name.as_str(), name.uid.as_str()) == account)
            );
            found[0].login.password.trim_start_matches("of-").to_owned()
        };
        assert_eq!(ask(("a", "1"), "", "one").await, "one");
        let asked: serde_json::Value = serde_json::from_str(&site.text("asked")).unwrap();
        assert_eq!(asked["serviceAccountToken"], "one");
        assert_eq!(asked["serviceAccountAnnotations"], json!({"key": ""}));
        assert_eq!(ask(("a", "1"), "", "one").await, "one");
        assert_eq!(site.text("calls").lines().count(), 1, "{cache}");
        assert_eq!(ask(("a", "1"), "", "two").await, if kept { "one" } else { "two" });
        assert_eq!(ask(("b", "2"), "", "three").await, "three", "another account");
        assert_eq!(ask(("a", "9"), "", "four").await, "four", "a new account of an old name");
        assert_eq!(ask(("a", "1"), "changed", "five").await, "five", "another annotation");
        assert_eq!(ask(("b", "2"), "", "three").await, "three");
    }
}

#[tokio::test]
async fn a_program_that_answers_with_the_token_itself_must_say_so() {
    let site = echoing("ServiceAccount");
    let mut plugin = site.plugins();
    let provider = &mut Arc::get_mut(&mut plugin.0).unwrap()[0].provider;
    provider.env[0].1 = String::new();
    let pod = identity(("a", "1"), "", "c4nary");
    let plugin = &plugin.0[0];
    let error = exec::ask(&plugin.provider, &plugin.program, "reg.x/a", Some(&pod)).await.err().unwrap();
    assert!(matches!(error, exec::ExecError::Echo) && !format!("{error:?} {pod:?}").contains("c4nary"));
}

#[tokio::test]
async fn a_pod_without_a_service_account_asks_as_the_node_or_not_at_all() {
    for (required, calls) in [(true, 0), (false, 1)] {
        let site = Site::answering(&answer("Image", json!({})), with_tokens("Token", required));
        let plugins = site.plugins();
        let _users = users(&plugins, "reg.x/a").await;
        assert_eq!(site.text("calls").lines().count(), calls, "{required}");
        assert!(!site.text("asked").contains("serviceAccountToken"));
    }
}

#[test]
fn tokens_for_programs_need_their_gate() {
    let site = Site::new("true", with_tokens("Token", true));
    let dir = site.dir.path();
    let error = load(&dir.join("config.yaml"), &dir.join("bin"), false).unwrap_err().to_string();
    assert!(error.contains("KubeletServiceAccountTokenForCredentialProviders"), "{error}");
}

#[tokio::test]
async fn a48_nothing_that_a_program_prints_is_told() {
    let bad = [
        "echo c4nary; echo c4nary >&2; exit 3",
        "echo '{\"c4nary\": 1}'",
        "echo c4nary",
        "echo '{\"kind\": \"CredentialProviderResponse\", \"apiVersion\": \"credentialprovider.kubelet.k8s.io/v1beta1\", \"cacheKeyType\": \"Image\", \"auth\": {\"reg.x\": {\"username\": \"c4nary\", \"password\": \"p\"}}}'",
    ];
    for script in bad {
        let site = Site::new(script, json!({}));
        let plugins = site.plugins();
        assert!(users(&plugins, "reg.x/a").await.is_empty(), "{script}");
        let plugin = &plugins.0[0];
        let error = exec::ask(&plugin.provider, &plugin.program, "reg.x/a", None).await.err().unwrap();
        let told = format!("{} {error:?} {plugins:?}", Chain(&error));
        assert!(!told.contains("c4nary"), "{told}");
    }
}

#[tokio::test]
async fn a49_a_program_has_three_open_files() {
    let _open = std::fs::File::open("/proc/self/status").unwrap();
    let site = Site::new("ls /proc/self/fd > $(dirname $0)/../files", json!({}));
    let _nothing = users(&site.plugins(), "reg.x/a").await;
    let files: Vec<String> = site.text("files").lines().map(ToOwned::to_owned).collect();
    // One beyond the three is the list itself. What whoever started the tests left open is passed on; the agent
    // itself closes such files first of all.
    let ours: Vec<&String> = files.iter().filter(|file| !inherited().contains(file)).collect();
    assert!(files.len() > 3 && ours.len() <= 4, "{ours:?} of {files:?}");
}

/// Files that this process passes on to every program: those without close-on-exec, beyond the three.
fn inherited() -> Vec<String> {
    let open = std::fs::read_dir("/proc/self/fd").unwrap();
    let names = open.map(|file| file.unwrap().file_name().into_string().unwrap());
    let passed_on = |name: &String| {
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{name}")).unwrap_or_default();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap_or("02000000");
        let flags = i64::from_str_radix(flags.trim(), 8).unwrap();
        flags & 0o2_000_000 == 0 && !["0", "1", "2"].contains(&name.as_str())
    };
    names.filter(passed_on).collect()
}

#[tokio::test]
async fn one_that_hangs_is_ended_with_what_it_started() {
    let site = Site::new("sleep 1000 & echo $! > $(dirname $0)/../child; wait", json!({}));
    let plugins = site.plugins();
    let plugin = &plugins.0[0];
    let asked = exec::ask(&plugin.provider, &plugin.program, "reg.x/a", None);
    // Dropped as by the deadline.
    assert!(tokio::time::timeout(Duration::from_secs(1), asked).await.is_err());
    let child = site.text("child");
    let gone = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.trim())).unwrap_or_default();
        stat.is_empty() || stat.contains(") Z ")
    };
    let deadline = Instant::now() + Duration::from_secs(10);
    while !gone() {
        assert!(Instant::now() < deadline, "process {child} lives on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn what_a_configuration_must_not_say_is_named() {
    let good =
        json!({"name": "ask", "matchImages": ["*.x:5000/a"], "defaultCacheDuration": "0s", "apiVersion": V1});
    assert_eq!(parse(&file(std::slice::from_ref(&good))).unwrap().len(), 1);
    for (key, value, word) in [
        ("name", json!("a/b"), "name"),
        ("name", json!(".."), "name"),
        ("matchImages", json!([]), "matchImages"),
        ("matchImages", json!(["a b"]), "matchImages"),
        ("defaultCacheDuration", json!("-1s"), "defaultCacheDuration"),
        ("apiVersion", json!("v9"), "v9"),
        ("tokenAttributes", json!({"serviceAccountTokenAudience": "a"}), "tokenAttributes"),
        ("unknown", json!(1), "unknown"),
    ] {
        let mut bad = good.clone();
        bad.as_object_mut().unwrap().insert(key.to_owned(), value);
        let error = parse(&file(&[bad])).unwrap_err();
        assert!(error.contains(word), "{key}: {error}");
    }
    assert!(parse(&file(&[])).is_err());
    assert!(parse("kind: Other\napiVersion: v1\nproviders: []\n").is_err());
}

#[test]
fn a_directory_of_files_is_one_configuration_and_every_program_must_be_there() {
    let site = Site::new("true", json!({}));
    let dir = site.dir.path();
    std::fs::create_dir(dir.join("conf")).unwrap();
    assert!(load(&dir.join("conf"), &dir.join("bin"), true).is_err());
    std::fs::rename(dir.join("config.yaml"), dir.join("conf/1.yml")).unwrap();
    assert_eq!(load(&dir.join("conf"), &dir.join("bin"), true).unwrap().0.len(), 1);
    std::fs::copy(dir.join("conf/1.yml"), dir.join("conf/2.json")).unwrap();
    let twice = load(&dir.join("conf"), &dir.join("bin"), true).unwrap_err().to_string();
    assert!(twice.contains("two providers"), "{twice}");
    assert!(load(&dir.join("conf/1.yml"), dir, true).is_err());
    assert!(load(&dir.join("none"), dir, true).is_err());
}
