//! The house's arrows, read from the manifests: `cri-proto ← {pleg, prober, gc} ← agent`, and who may name what.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test: a manifest that cannot be read is a failure"
)]

use std::collections::BTreeSet;
use std::path::Path;

/// Names under `[dependencies]` of a crate's manifest.
fn dependencies(crate_dir: &str) -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let text = std::fs::read_to_string(root.join(crate_dir).join("Cargo.toml")).unwrap();
    let section = text.split("\n[").find(|section| section.starts_with("dependencies]"));
    let lines = section.unwrap_or_default().lines().skip(1);
    lines
        .filter_map(|line| line.split(['.', ' ', '=']).next())
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

fn ours(crate_dir: &str) -> Vec<String> {
    dependencies(crate_dir).into_iter().filter(|name| name.starts_with("pinnace")).collect()
}

#[test]
fn the_arrows_run_one_way() {
    assert_eq!(ours("cri-proto"), Vec::<String>::new());
    for middle in ["pleg", "gc", "prober"] {
        let allowed = ["pinnace-cri"];
        let wrong: Vec<_> =
            ours(middle).into_iter().filter(|name| !allowed.contains(&name.as_str())).collect();
        assert!(wrong.is_empty(), "{middle} depends on {wrong:?}");
    }
}

#[test]
fn only_the_agent_names_kubernetes() {
    for inner in ["cri-proto", "pleg", "gc", "prober"] {
        for banned in ["kube", "k8s-openapi"] {
            assert!(!dependencies(inner).contains(banned), "{inner} depends on {banned}");
        }
    }
}

#[test]
fn only_cri_proto_names_tonic() {
    for outer in ["pleg", "gc", "prober", "agent"] {
        for banned in ["tonic", "tonic-prost", "prost"] {
            assert!(!dependencies(outer).contains(banned), "{outer} depends on {banned}");
        }
    }
}

#[test]
fn no_second_tls_or_crypto_stack() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let lock = std::fs::read_to_string(root.join("Cargo.lock")).unwrap();
    for banned in ["openssl-sys", "native-tls", "aws-lc-sys"] {
        assert!(!lock.contains(&format!("name = \"{banned}\"")), "{banned} is in the lock file");
    }
}
