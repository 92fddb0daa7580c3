use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

const POD: &str =
    "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  containers:\n  - name: c\n    image: i\n";

fn problems(text: &str) -> Vec<String> {
    let faults = decode(text.as_bytes(), false).err().unwrap_or_default();
    let line = |fault: Fault| fault.into_problem(std::path::Path::new("f.yaml")).to_string();
    faults.into_iter().map(line).collect()
}

fn check(text: &str, expected: &[&str]) {
    assert_eq!(problems(text), expected, "for {text:?}");
}

fn pod(text: &str) -> Pod {
    match decode(text.as_bytes(), false) {
        Ok(Manifest::Pod(pod)) => *pod,
        other => panic!("expected a pod, got {other:?}"),
    }
}

#[test]
fn yaml_and_json_say_the_same() {
    let json = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web"},
	"spec":{"containers":[{"name":"c","image":"i"}]}}"#;
    assert_eq!(pod(POD), pod(json));
    assert_eq!(pod(POD), pod(&format!("\u{feff}---\n{POD}")));
    assert_eq!(pod(POD), pod(&format!("# a comment\n---\n{POD}---\n")));
    assert_eq!(
        pod("{apiVersion: v1, kind: Pod, metadata: {name: web}, spec: {containers: [{name: c, image: i}]}}"),
        pod(POD)
    );
}

#[test]
fn an_export_from_a_newer_cluster_is_read_without_its_status() {
    let exported = POD.replace("{name: web}", "{name: web, managedFields: [{inTheFuture: 1}]}");
    assert_eq!(pod(&format!("{exported}status: {{inTheFuture: 1}}\n")), pod(POD));
}

#[test]
fn scalars_mean_what_they_mean_to_kubectl() {
    let volumes = format!("{POD}  volumes:\n  - name: v\n    configMap: {{name: m, defaultMode: 0644}}\n");
    let spec = pod(&volumes).spec.unwrap();
    assert_eq!(spec.volumes.unwrap()[0].config_map.as_ref().unwrap().default_mode, Some(420));
    check(
        &format!("{POD}    env: [{{name: A, value: yes}}]\n"),
        &["f.yaml: spec.containers[0].env[0].value: invalid type: boolean `true`, expected a string"],
    );
    let limits = format!("{POD}    resources: {{limits: {{cpu: 2, memory: 1.5Gi}}}}\n");
    let limits = pod(&limits).spec.unwrap().containers[0].resources.clone().unwrap().limits.unwrap();
    assert_eq!((limits["cpu"].0.as_str(), limits["memory"].0.as_str()), ("2", "1.5Gi"));
}

#[test]
fn faults_name_their_field() {
    check(
        &format!("{POD}    ports:\n    - containerPort: 80\n    - containerPort: http\n"),
        &["f.yaml: spec.containers[0].ports[1].containerPort: invalid type: string \"http\", expected i32"],
    );
    check(
        &format!("{POD}    imagePullpolicy: Never\n  restartpolicy: Never\n"),
        &[
            "f.yaml: spec.containers[0].imagePullpolicy: unknown field",
            "f.yaml: spec.restartpolicy: unknown field",
        ],
    );
    check(
        &format!("{POD}    command: sh\n"),
        &["f.yaml: spec.containers[0].command: invalid type: string \"sh\", expected a sequence"],
    );
}

#[test]
fn what_is_no_manifest_is_named() {
    check("", &["f.yaml: is empty"]);
    check("# nothing\n", &["f.yaml: is empty"]);
    check("- a\n", &["f.yaml: is a list, expected an object with apiVersion and kind"]);
    check("hello\n", &["f.yaml: is a string, expected an object with apiVersion and kind"]);
    check("kind: Pod\n", &["f.yaml: apiVersion: is missing, expected v1"]);
    check("apiVersion: v1\n", &["f.yaml: kind: is missing, expected Pod, ConfigMap or Secret"]);
    check("apiVersion: v2\nkind: Pod\n", &["f.yaml: apiVersion: is \"v2\", expected v1"]);
    check(
        "apiVersion: apps/v1\nkind: Deployment\n",
        &["f.yaml: kind: is \"Deployment\" of \"apps/v1\": a manifest is one Pod, ConfigMap or Secret of v1"],
    );
    check("apiVersion: v1\nkind: ConfigMap\n", &["f.yaml: metadata.name: is missing"]);
}

#[test]
fn broken_syntax_is_named_with_its_place() {
    check(
        "apiVersion: v1\nkind: Pod\n  metadata: x\n",
        &["f.yaml: is not valid YAML: mapping values are not allowed in this context (line 3, column 11)"],
    );
    check(
        "a: [1, 2\nb: 3\n",
        &["f.yaml: is not valid YAML: illegal placement of ':' indicator (line 2, column 2)"],
    );
    check(
        "{\"a\": 1,,}",
        &[
            "f.yaml: is not valid YAML: unexpected EOF while parsing an implicit flow mapping (line 1, column 9)",
        ],
    );
    let faults = decode(b"{\"a\": 1,,}", true).err().unwrap_or_default();
    assert_eq!(faults, [Fault::whole("is not valid JSON: key must be a string at line 1 column 9")]);
}

#[test]
fn a_secret_is_data_that_is_never_shown() {
    let text =
        "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: ns}\nstringData: {password: hunter2}\n";
    let secret = decode(text.as_bytes(), false).unwrap();
    let Manifest::Object(reference, data) = &secret else { panic!("{secret:?}") };
    assert_eq!((reference.kind.word(), reference.namespace.as_str()), ("secret", "ns"));
    assert_eq!(data.values["password"].bytes(), b"hunter2");
    assert!(!format!("{secret:?}").contains("hunter2"));
}

#[test]
fn a67_no_message_repeats_a_secret() {
    let head = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n";
    for broken in [
        "stringData:\n  password: hunter2\n  password: hunter2\n",
        "stringData: {password: hunter2\n",
        "stringData:\n  password: \"hunter2\n",
        "stringData:\n  password: *hunter2\n",
        "stringData:\n  password: !hunter2 x\n",
        "stringData:\n  password: !!int hunter2\n",
        "stringData:\n\tpassword: hunter2\n",
        "stringData: |\n hunter2\n  hunter2\n hunter2: [\n",
        "? hunter2 : hunter2\n- hunter2",
        "stringData: hunter2: hunter2",
        "stringData: &hunter2 [*hunter2]\n",
    ] {
        for problem in problems(&format!("{head}{broken}")) {
            assert!(!problem.contains("hunter2"), "{problem:?} for {broken:?}");
        }
    }
    let json = r#"{"apiVersion":"v1","kind":"Secret","stringData":{"password":"hunter2"#;
    assert!(!problems(json).concat().contains("hunter2"));
}

#[test]
fn a66_duplicate_keys_tags_documents_and_nul_are_refused() {
    check(&format!("{POD}    name: d\n"), &["f.yaml: has the key \"name\" twice (line 8, column 5)"]);
    let twice = r#"{"apiVersion":"v1","kind":"Pod","kind":"Pod"}"#;
    check(twice, &["f.yaml: is not valid JSON: the key \"kind\" is there twice at line 1 column 38"]);
    check(
        &format!("{POD}---\n{POD}"),
        &["f.yaml: has more than one document, expected one manifest per file (line 9, column 1)"],
    );
    check("a: \0b\n", &["f.yaml: has a NUL byte at offset 3"]);
    assert_eq!(decode(b"a: \xff\n", false).err(), Some(vec![Fault::whole("is not UTF-8 from offset 3 on")]));
    for tagged in ["!!python/object:os.system x", "!mine x", "!!set {a}"] {
        assert_eq!(problems(&format!("{POD}    workingDir: {tagged}\n")).len(), 1, "{tagged} was accepted");
    }
    check(
        &format!("{POD}  activeDeadlineSeconds: .inf\n"),
        &["f.yaml: has a number that is not finite (line 8, column 26)"],
    );
}

/// The promise is 1 s; a debug build is some 20 times slower and shares its machine with other tests.
fn limit() -> Duration {
    Duration::from_secs(if cfg!(debug_assertions) { 10 } else { 1 })
}

#[test]
fn a66_bombs_are_refused_within_a_second() {
    let mut laughs = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..=9 {
        let below = format!("*a{}, ", level - 1).repeat(10);
        laughs.push_str(&format!("a{level}: &a{level} [{below}]\n"));
    }
    let merges: String = (1..3_000).fold("b0: &b0 {a: 1}\n".to_owned(), |text, level| {
        format!("{text}b{level}: &b{level} {{<<: *b{}, k{level}: 1}}\n", level - 1)
    });
    let json = format!("{}{}", "{\"a\":".repeat(10_000), "}".repeat(10_000));
    let block: String = (0..1_400).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    let cases = [
        ("aliases", laughs),
        ("merges", merges),
        ("lists", "[".repeat(10_000)),
        ("closed lists", format!("a: {}{}", "[".repeat(10_000), "]".repeat(10_000))),
        ("flow maps", "{a: ".repeat(10_000)),
        ("json", json),
        ("blocks", block),
        ("dashes", format!("{}x", "- ".repeat(10_000))),
        ("questions", "? ".repeat(10_000)),
        ("nodes", format!("a: [{}]\n", "1,".repeat(500_000))),
        ("anchors", (0..5_000).map(|n| format!("k{n}: &x{n} 1\n")).collect()),
        ("size", format!("# {}", "x".repeat(1024 * 1024))),
        ("documents", "---\na\n".repeat(50_000)),
        ("one long scalar in a wrong place", "x".repeat(1024 * 1024)),
    ];
    for (name, text) in cases {
        #[expect(clippy::disallowed_methods, reason = "measures real time")]
        let start = Instant::now();
        let found = problems(&text);
        assert_eq!(found.len(), 1, "{name} was accepted");
        assert!(found[0].len() < 300, "{name}: {}", found[0].len());
        let took = start.elapsed();
        assert!(took < limit(), "{name} took {took:?}");
    }
}

#[test]
fn a66_odd_megabytes_are_decided_within_a_second() {
    let head = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: web\n  annotations:\n";
    let repeat = |text: &str, most: usize| text.repeat(most / text.len());
    let mib = 1_000_000;
    let cases = [
        ("keys of one map", (0..30_000).map(|n| format!("    k{n}: v\n")).collect()),
        (
            "keys of one flow map",
            (0..30_000).fold("    x: {".to_owned(), |text, n| format!("{text}k{n}: v,")) + "}",
        ),
        ("block scalar", format!("    k: |\n{}", repeat("      line\n", mib))),
        ("folded scalar", format!("    k: >\n{}", repeat("      line\n\n", mib))),
        ("plain scalar", format!("    k: {}", repeat("word ", mib))),
        ("plain lines", format!("    k: a\n{}", repeat("      word\n", mib))),
        ("quoted", format!("    k: \"{}\"", repeat("\\u0041", mib))),
        ("unclosed quote", format!("    k: \"{}", repeat("a\n ", mib))),
        ("single quotes", format!("    k: '{}'", repeat("''", mib))),
        ("comments", repeat("    # comment\n", mib)),
        ("blank lines", repeat("\n", mib)),
        ("spaces", repeat(" ", mib)),
        ("tabs", repeat("\t", mib)),
        ("colons", repeat("a: ", mib)),
        ("anchors", repeat("&a ", mib)),
        ("tags", repeat("!!str ", mib)),
        ("directives", repeat("%TAG !a! tag:b\n", mib)),
        ("question marks", repeat("? a\n", mib)),
        ("braces", repeat("{}", mib)),
        ("commas", format!("    k: [{}", repeat(", ", mib))),
        ("numbers", format!("    k: {}", repeat("9", mib))),
        ("exponent", "    k: 1e999999999\n".to_owned()),
        ("alias of one scalar", format!("    k: &a x\n    l: [{}]", repeat("*a, ", mib))),
        (
            "alias of a big scalar",
            format!("    k: &a {}\n    l: [{}]", repeat("x", mib / 2), repeat("*a, ", 4_000)),
        ),
    ];
    for (name, text) in cases {
        #[expect(clippy::disallowed_methods, reason = "measures real time")]
        let start = Instant::now();
        let found = problems(&format!("{head}{text}")).concat();
        let took = start.elapsed();
        assert!(found.len() < 300, "{name}: {}", found.len());
        assert!(took < limit(), "{name} took {took:?}");
    }
}

#[test]
fn a66_a_pod_near_the_limit_is_read_within_a_second() {
    let variables: String =
        (0..20_000).map(|n| format!("    - name: VARIABLE_{n}\n      value: value-{n}\n")).collect();
    let text = format!("{POD}    env:\n{variables}");
    assert!(text.len() > 900_000 && text.len() < 1024 * 1024);
    #[expect(clippy::disallowed_methods, reason = "measures real time")]
    let start = Instant::now();
    assert_eq!(pod(&text).spec.unwrap().containers[0].env.as_ref().unwrap().len(), 20_000);
    let took = start.elapsed();
    assert!(took < limit(), "took {took:?}");
}

proptest! {
    #[test]
    fn random_bytes_are_decided_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = decode(&bytes, false);
    }

    #[test]
    fn a_truncated_manifest_is_decided_without_a_panic(cut in 0..POD.len()) {
        let _ = decode(&POD.as_bytes()[..cut], false);
    }

    #[test]
    fn yaml_like_text_is_decided_without_a_panic(text in r"([a-z&*!|>{}\[\],:\-?# \n'\x22]{0,12}\n? {0,4}){0,20}") {
        let _ = decode(text.as_bytes(), false);
    }

    #[test]
    fn a_changed_byte_never_adds_silence(at in 0..POD.len(), byte in any::<u8>()) {
        let mut bytes = POD.as_bytes().to_vec();
        bytes[at] = byte;
        if let Err(faults) = decode(&bytes, false) {
            prop_assert!(!faults.is_empty());
        }
    }
}
