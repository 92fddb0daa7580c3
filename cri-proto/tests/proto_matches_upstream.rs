//! Compares `proto/api.proto` with the interface that Kubernetes publishes, fact by fact: a wrong field number
//! would not fail a call, it would drop a seccomp profile or a memory limit in silence.
//!
//! Upstream's file is read from the Go module cache. `PINNACE_CRI_API_DIR` names another directory of
//! `k8s.io/cri-api`; without either the test fails, or says SKIPPED where `PINNACE_ALLOW_SKIP=1` allows that.

#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by them, in its helpers too")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use protox::prost_reflect::{DescriptorPool, EnumDescriptor, FieldDescriptor, MessageDescriptor};

/// The version that `proto/api.proto` says it follows.
const UPSTREAM: &str = "k8s.io/cri-api@v0.36.3";

/// Facts of upstream that our file leaves out on purpose, each with its reason. None so far.
const LEFT_OUT: [(&str, &str); 0] = [];

/// What a file says, one line per thing: the thing's path, and everything about it that reaches the wire.
type Facts = BTreeMap<String, String>;

#[test]
fn every_fact_of_our_proto_is_upstreams() {
    let Some(upstream) = upstream_facts() else { return };
    let ours = facts_of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("proto"));
    let differing: Vec<String> = ours
        .iter()
        .filter(|(path, fact)| upstream.get(*path) != Some(fact))
        .map(|(path, fact)| format!("{path}: ours {fact:?}, upstream {:?}", upstream.get(path)))
        .collect();
    assert!(differing.is_empty(), "differs from {UPSTREAM}:\n{}", differing.join("\n"));
}

#[test]
fn what_our_proto_leaves_out_is_listed_with_a_reason() {
    let Some(upstream) = upstream_facts() else { return };
    let ours = facts_of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("proto"));
    let missing: Vec<&String> = upstream.keys().filter(|path| !ours.contains_key(*path)).collect();
    let listed: Vec<&str> = LEFT_OUT.iter().map(|(path, _)| *path).collect();
    assert_eq!(missing, listed, "left out of {UPSTREAM} and the list of reasons disagree");
    assert!(upstream.len() > 600, "only {} facts read: the comparison has lost its meaning", upstream.len());
}

#[test]
fn the_comparison_sees_every_kind_of_difference() {
    let base = "message M { string a = 1; repeated int64 b = 2; map<string, string> c = 3; E e = 4; oneof o { bool d = 5; } }
        enum E { X = 0; Y = 1; } service S { rpc R(M) returns (stream M); }";
    let changes = [
        ("string a = 1", "string a = 9"),
        ("string a", "bytes a"),
        ("string a", "repeated string a"),
        ("string a", "optional string a"),
        ("repeated int64 b = 2", "repeated int64 b = 2 [packed = false]"),
        ("int64 b", "uint64 b"),
        ("map<string, string>", "map<string, bytes>"),
        ("E e", "M e"),
        ("Y = 1", "Y = 2"),
        ("Y = 1", "Z = 1"),
        ("stream M", "M"),
        ("R(M)", "R(stream M)"),
        ("oneof o { bool d = 5; }", "bool d = 5;"),
        ("string a = 1;", ""),
    ];
    let reference = facts_of_text(base);
    for (from, to) in changes {
        let changed = base.replacen(from, to, 1);
        assert_ne!(changed, base, "{from:?} is not in the sample");
        assert_ne!(facts_of_text(&changed), reference, "{from:?} -> {to:?} went unseen");
    }
}

fn upstream_facts() -> Option<Facts> {
    match upstream_dir() {
        Ok(dir) => Some(facts_of(&dir.join("pkg/apis/runtime/v1"))),
        Err(why) if std::env::var_os("PINNACE_ALLOW_SKIP").is_some_and(|value| value == "1") => {
            println!("SKIPPED: {why}");
            None
        }
        Err(why) => panic!("{why}; PINNACE_ALLOW_SKIP=1 skips this test"),
    }
}

fn upstream_dir() -> Result<PathBuf, String> {
    if let Some(dir) = std::env::var_os("PINNACE_CRI_API_DIR") {
        let dir = PathBuf::from(dir);
        return if dir.is_dir() {
            Ok(dir)
        } else {
            Err(format!("PINNACE_CRI_API_DIR: {} is no directory", dir.display()))
        };
    }
    let hint = format!("{UPSTREAM} is needed: run `go mod download` in deploy/dev/tools");
    let answer = Command::new("go").args(["env", "GOMODCACHE"]).output();
    let answer = answer.map_err(|error| format!("`go env GOMODCACHE` did not run ({error}); {hint}"))?;
    let cache = String::from_utf8_lossy(&answer.stdout);
    let dir = Path::new(cache.trim()).join(UPSTREAM);
    if dir.is_dir() { Ok(dir) } else { Err(format!("{} is missing; {hint}", dir.display())) }
}

fn facts_of(dir: &Path) -> Facts {
    let compiled = protox::compile([dir.join("api.proto")], [dir]);
    facts(
        &DescriptorPool::from_file_descriptor_set(compiled.expect("the proto file compiles"))
            .expect("it links"),
    )
}

fn facts_of_text(text: &str) -> Facts {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let full = format!("syntax = \"proto3\"; package runtime.v1; {text}");
    std::fs::write(dir.path().join("api.proto"), full).expect("the sample is written");
    facts_of(dir.path())
}

fn facts(pool: &DescriptorPool) -> Facts {
    let own = |name: &str| name.starts_with("runtime.v1");
    let mut facts = Facts::new();
    pool.all_messages().filter(|m| own(m.package_name())).for_each(|m| of_message(&m, &mut facts));
    pool.all_enums().filter(|e| own(e.package_name())).for_each(|e| of_enum(&e, &mut facts));
    for method in pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()) {
        let stream = |streams| if streams { "stream " } else { "" };
        let fact = format!(
            "rpc ({}{}) returns ({}{})",
            stream(method.is_client_streaming()),
            method.input().full_name(),
            stream(method.is_server_streaming()),
            method.output().full_name()
        );
        facts.insert(method.full_name().to_owned(), fact);
    }
    facts
}

fn of_message(message: &MessageDescriptor, facts: &mut Facts) {
    let kind = if message.is_map_entry() { "map entry" } else { "message" };
    facts.insert(message.full_name().to_owned(), kind.to_owned());
    for field in message.fields() {
        facts.insert(field.full_name().to_owned(), of_field(&field));
    }
}

fn of_field(field: &FieldDescriptor) -> String {
    format!(
        "number {}, type {:?}, {:?}, packed {}, presence {}, oneof {:?}, json {}",
        field.number(),
        field.kind(),
        field.cardinality(),
        field.is_packed(),
        field.supports_presence(),
        field.containing_oneof().map(|oneof| oneof.name().to_owned()),
        field.json_name(),
    )
}

fn of_enum(set: &EnumDescriptor, facts: &mut Facts) {
    facts.insert(set.full_name().to_owned(), "enum".to_owned());
    for value in set.values() {
        facts.insert(format!("{}.{}", set.full_name(), value.name()), format!("value {}", value.number()));
    }
}
