//! Which credentials an image gets: examples as the kubelet's tests have them, and A47 for any key and image.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::json;

use super::decode::{Format, Malformed, logins};
use super::*;

fn login(name: &str) -> Login {
    Login { username: name.to_owned(), password: format!("p-{name}"), email: String::new() }
}

fn ring(keys: &[&str]) -> Keyring {
    let mut ring = Keyring::default();
    ring.add(keys.iter().map(|key| ((*key).to_owned(), login(key))), None);
    ring
}

fn found(ring: &Keyring, repository: &str) -> Vec<String> {
    ring.lookup(repository).into_iter().map(|credential| credential.login.username).collect()
}

#[track_caller]
fn check(key: &str, repository: &str, wanted: bool) {
    assert_eq!(!found(&ring(&[key]), repository).is_empty(), wanted, "{key} for {repository}");
}

#[test]
fn a47_a_credential_is_for_its_host_port_and_path() {
    for key in
        ["reg.x", "https://reg.x", "http://reg.x/", "reg.x/v1/", "https://reg.x/v2/", "reg.x/a", "reg.x/a/b"]
    {
        check(key, "reg.x/a/b", true);
    }
    for key in ["*.x", "reg.*", "*.*", "r*g.x", "*.x/a", "https://*.x/v2/a"] {
        check(key, "reg.x/a/b", true);
    }
    for key in [
        "reg",
        "x",
        "sub.reg.x",
        "*",
        "*.reg.x",
        "reg.x:443",
        "reg.x:80/a",
        "REG.x",
        "reg.x/b",
        "reg.x/a/b/c",
    ] {
        check(key, "reg.x/a/b", false);
    }
    check("reg.x:443", "reg.x:443/a", true);
    check("reg.x:443/v1", "reg.x:443/a", false);
    check("reg.x", "reg.x:443/a", false);
    check("[::1]:5000", "[::1]:5000/a", true);
    check("[::1]:5000", "[::2]:5000/a", false);
    check("[::1]", "[::1]/a", true);
    check("evil.com/reg.x", "reg.x/a", false);
    check("reg.x@evil.com", "evil.com/a", false);
    check("reg.x@evil.com", "reg.x/a", false);
    check("reg.x%2eevil.com", "reg.x/a", false);
    check("reg.x\\.evil", "reg.x/a", false);
    check("", "reg.x/a", false);
}

#[test]
fn longer_addresses_go_first_and_all_are_tried() {
    let ring = ring(&["reg.x", "reg.x/a/b", "*.x", "reg.x/a", "other.x"]);
    assert_eq!(found(&ring, "reg.x/a/b"), ["reg.x/a/b", "reg.x/a", "reg.x", "*.x"]);
}

#[test]
fn the_default_registrys_former_name_counts_only_if_nothing_else_does() {
    let image = format!("{DEFAULT_REGISTRY}/library/a");
    let former = format!("https://{FORMER_REGISTRY}/v1/");
    assert_eq!(found(&ring(&[&former]), &image), [former.as_str()]);
    assert_eq!(found(&ring(&[&former, DEFAULT_REGISTRY]), &image), [DEFAULT_REGISTRY]);
    assert!(found(&ring(&[&former]), "reg.x/library/a").is_empty());
}

#[test]
fn both_formats_and_both_ways_to_write_a_login() {
    let auth = STANDARD.encode("u:p:q");
    let entries = json!({"a.x": {"auth": auth}, "b.x": {"username": "u", "password": "p:q"}, "c.x": {}});
    let both = [
        (Format::ConfigJson, json!({"auths": entries}).to_string()),
        (Format::ConfigJson, json!({"Auths": entries, "credsStore": "desktop"}).to_string()),
        (Format::Dockercfg, entries.to_string()),
    ];
    for (format, text) in both {
        let found = logins(text.as_bytes(), format).unwrap();
        assert_eq!(found.len(), 2, "{text}");
        for (_, login) in &found {
            assert_eq!((login.username.as_str(), login.password.as_str()), ("u", "p:q"));
        }
    }
    let unpadded = json!({"a.x": {"auth": auth.trim_end_matches('=')}}).to_string();
    assert_eq!(logins(unpadded.as_bytes(), Format::Dockercfg).unwrap().len(), 1);
}

#[test]
fn a48_nothing_of_a_malformed_text_is_told() {
    let texts = [
        "{\"auths\": {\"a\": c4nary}}",
        "c4nary",
        "{\"auths\": {\"a\": {\"auth\": \"c4nary!\"}}}",
        "[\"c4nary\"]",
        "{\"auths\": {\"a\": {\"username\": [\"c4nary\"]}}}",
        "{\"auths\": {\"a\": {\"auth\": \"YzRuYXJ5\"}}}",
    ];
    for text in texts {
        let error = logins(text.as_bytes(), Format::ConfigJson).unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("c4nary") && !shown.contains("YzRu"), "{shown}");
    }
    assert_eq!(logins(b"null", Format::ConfigJson), Ok(Vec::new()));
    assert_eq!(logins(b"3", Format::ConfigJson), Err(Malformed::Json));
}

#[test]
fn a48_a_login_is_never_shown() {
    let credential = Credential::new(
        Login { username: "c4nary".into(), password: "c4nary".into(), email: String::new() },
        None,
    );
    let mut ring = Keyring::default();
    ring.add([("reg.x".to_owned(), credential.login.clone())], None);
    let shown = format!("{credential:?} {ring:?} {:?}", credential.login);
    assert!(!shown.contains("c4nary") && !shown.contains(&credential.hash), "{shown}");
}

#[test]
fn a_credentials_hash_is_the_kubelets() {
    // sha256 of {"username":"user","password":"a\u003cb"}
    let login = Login { username: "user".into(), password: "a<b".into(), email: String::new() };
    assert_eq!(hash(&login), hex(&Sha256::digest(br#"{"username":"user","password":"a\u003cb"}"#)));
    assert_eq!(hash(&Login::default()), hex(&Sha256::digest(b"{}")));
}

/// Whether a label is one that a pattern stands for, by trying every length of every star.
fn fits(pattern: &[u8], label: &[u8]) -> bool {
    match pattern.split_first() {
        None => label.is_empty(),
        Some((b'*', rest)) => (0..=label.len()).any(|length| fits(rest, &label[length..])),
        Some((byte, rest)) => {
            label.split_first().is_some_and(|(first, more)| first == byte && fits(rest, more))
        }
    }
}

/// Keys and images of few letters, so that they often are close to one another.
fn key() -> impl Strategy<Value = (String, Vec<String>, String, String)> {
    let scheme = prop::sample::select(vec!["", "http://", "https://"]);
    let labels = prop::collection::vec(
        "[ab]{0,2}\\*?[ab]{0,1}\\*?".prop_filter("a label", |label| !label.is_empty()),
        1..4,
    );
    let port = prop::sample::select(vec!["", ":1", ":2", ":12"]);
    let version = prop::sample::select(vec!["", "/v1", "/v2"]);
    let path = prop::sample::select(vec!["", "/", "/a", "/b", "/a/b"]);
    (scheme, labels, port, version, path).prop_map(|(scheme, labels, port, version, path)| {
        // Without a slash behind it a version is a path like any other.
        let counts = if path.is_empty() { version } else { path }.trim_end_matches('/').to_owned();
        (format!("{scheme}{}{port}{version}{path}", labels.join(".")), labels, port.to_owned(), counts)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_096))]

    /// To each host that is in the key and to no other: its labels one by one, its port, the path as a beginning.
    #[test]
    fn a47_never_to_a_host_that_is_not_in_the_key(
        (key, labels, port, path) in key(),
        host in prop::collection::vec("[ab]{1,3}", 1..4),
        at in prop::sample::select(vec!["", ":1", ":2", ":12"]),
        name in prop::sample::select(vec!["/a", "/b", "/a/b", "/ab", "/b/a"]),
    ) {
        let image = format!("{}{at}{name}", host.join("."));
        let is_host = labels.len() == host.len()
            && labels.iter().zip(&host).all(|(pattern, label)| fits(pattern.as_bytes(), label.as_bytes()));
        let wanted = is_host && port == at && name.starts_with(&path);
        prop_assert_eq!(!found(&ring(&[&key]), &image).is_empty(), wanted, "{} for {}", key, image);
    }
}

proptest! {
    #[test]
    fn a47_any_text_as_key_is_harmless(key in any::<String>(), image in any::<String>()) {
        let _found = ring(&[&key]).lookup(&image);
    }
}
