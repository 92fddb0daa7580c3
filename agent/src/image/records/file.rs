//! Records as bytes: the kubelet's `ImagePullIntent` and `ImagePulledRecord` of `kubelet.config.k8s.io`. Pure.
//!
//! Strict as there: a file with anything unknown in it is not read.

use std::collections::BTreeMap;

use jiff::{Timestamp, Unit};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::verify::{Access, AccountRecord, PulledRecord, SecretRecord};
use crate::image::keyring::hex;

const INTENT: &str = "ImagePullIntent";
const RECORD: &str = "ImagePulledRecord";
const VERSION: &str = "kubelet.config.k8s.io/v1beta1";
/// Written by kubelets before 1.35, with the same fields.
const FORMER_VERSION: &str = "kubelet.config.k8s.io/v1alpha1";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct IntentFile {
    kind: String,
    api_version: String,
    image: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RecordFile {
    kind: String,
    api_version: String,
    last_updated_time: Option<Timestamp>,
    image_ref: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    credential_mapping: BTreeMap<String, AccessFile>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct AccessFile {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    kubernetes_secrets: Vec<SecretRecord>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    kubernetes_service_accounts: Vec<AccountRecord>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    node_pods_accessible: bool,
}

/// What names of files begin with.
pub(super) const PREFIX: &str = "sha256-";

/// Name of the file for an image or an id.
pub(super) fn name(of: &str) -> String {
    format!("{PREFIX}{}", hex(&Sha256::digest(of.as_bytes())))
}

/// An intent to pull.
pub(super) fn intent(image: &str) -> Vec<u8> {
    let file =
        IntentFile { kind: INTENT.to_owned(), api_version: VERSION.to_owned(), image: image.to_owned() };
    line(&file)
}

/// The image of an intent; none if these bytes are none.
pub(super) fn parse_intent(bytes: &[u8]) -> Option<String> {
    let file: IntentFile = serde_json::from_slice(bytes).ok()?;
    (file.kind == INTENT && is_known(&file.api_version)).then_some(file.image)
}

/// The record of an image.
pub(super) fn record(record: &PulledRecord) -> Vec<u8> {
    let mapping = record.access.iter().map(|(name, access)| {
        let Access { secrets, accounts, everyone } = access.clone();
        let access = AccessFile {
            kubernetes_secrets: secrets,
            kubernetes_service_accounts: accounts,
            node_pods_accessible: everyone,
        };
        (name.clone(), access)
    });
    line(&RecordFile {
        kind: RECORD.to_owned(),
        api_version: VERSION.to_owned(),
        // Whole seconds, as all times of the API.
        last_updated_time: Some(record.updated.round(Unit::Second).unwrap_or(record.updated)),
        image_ref: record.image_ref.clone(),
        credential_mapping: mapping.collect(),
    })
}

/// A record; none if these bytes are none.
pub(super) fn parse_record(bytes: &[u8]) -> Option<PulledRecord> {
    let file: RecordFile = serde_json::from_slice(bytes).ok()?;
    if file.kind != RECORD || !is_known(&file.api_version) {
        return None;
    }
    let access = file.credential_mapping.into_iter().map(|(name, file)| {
        let AccessFile { kubernetes_secrets, kubernetes_service_accounts, node_pods_accessible } = file;
        let access = Access {
            secrets: kubernetes_secrets,
            accounts: kubernetes_service_accounts,
            everyone: node_pods_accessible,
        };
        (name, access)
    });
    let access = access.collect();
    Some(PulledRecord {
        updated: file.last_updated_time.unwrap_or_default(),
        image_ref: file.image_ref,
        access,
    })
}

fn is_known(version: &str) -> bool {
    version == VERSION || version == FORMER_VERSION
}

fn line(file: &impl Serialize) -> Vec<u8> {
    // Strings, numbers and maps by strings always serialise.
    let mut bytes = serde_json::to_vec(file).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a kubelet writes it.
    const WRITTEN: &str = r#"{"kind":"ImagePulledRecord","apiVersion":"kubelet.config.k8s.io/v1beta1","lastUpdatedTime":"2024-10-21T12:26:40Z","imageRef":"testimageref","credentialMapping":{"reg.x/test":{"kubernetesSecrets":[{"uid":"u","namespace":"default","name":"pull-secret","credentialHash":"h"}]},"reg.x/open":{"nodePodsAccessible":true}}}
"#;

    #[test]
    fn a_kubelets_files_are_read_and_written_byte_for_byte() {
        let read = parse_record(WRITTEN.as_bytes()).unwrap();
        assert_eq!(read.access["reg.x/test"].secrets[0].name, "pull-secret");
        assert!(read.access["reg.x/open"].everyone);
        let written = String::from_utf8(record(&read)).unwrap();
        let sorted = WRITTEN.replace(
            r#""reg.x/test":{"kubernetesSecrets":[{"uid":"u","namespace":"default","name":"pull-secret","credentialHash":"h"}]},"reg.x/open":{"nodePodsAccessible":true}"#,
            r#""reg.x/open":{"nodePodsAccessible":true},"reg.x/test":{"kubernetesSecrets":[{"uid":"u","namespace":"default","name":"pull-secret","credentialHash":"h"}]}"#,
        );
        assert_eq!(written, sorted);
        let older = WRITTEN.replace("v1beta1", "v1alpha1");
        assert_eq!(parse_record(older.as_bytes()), Some(read));
        let text = "{\"kind\":\"ImagePullIntent\",\"apiVersion\":\"kubelet.config.k8s.io/v1beta1\",\"image\":\"a/b:1\"}\n";
        assert_eq!(intent("a/b:1"), text.as_bytes());
        assert_eq!(parse_intent(text.as_bytes()).as_deref(), Some("a/b:1"));
    }

    #[test]
    fn a46_what_is_cut_or_foreign_is_no_record() {
        for end in 0..WRITTEN.len() - 2 {
            assert_eq!(parse_record(&WRITTEN.as_bytes()[..end]), None, "{end}");
        }
        assert_eq!(parse_record(WRITTEN.replace("imageRef", "imageref2").as_bytes()), None);
        assert_eq!(parse_record(WRITTEN.replace("v1beta1", "v9").as_bytes()), None);
        assert_eq!(parse_record(&intent("a")), None);
        assert_eq!(parse_intent(WRITTEN.as_bytes()), None);
    }

    #[test]
    fn a46_file_names_are_digests() {
        // printf test | sha256sum
        assert_eq!(name("test"), "sha256-9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08");
    }
}
