//! The certificates of bundles as a volume shows them: which bundles, and what of their text. Pure.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

use crate::objects::{Bundle, Bundles};
use crate::volume::plan::Chosen;

/// What opens and closes a certificate (RFC 7468).
const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// The bundles that are chosen, by name, so that their order is always the same.
pub(super) fn chosen<'a>(all: &'a Bundles, chosen: &Chosen) -> Vec<&'a Bundle> {
    match chosen {
        Chosen::Name(name) => all.get(name).into_iter().collect(),
        Chosen::Signer { name, labels } => {
            let fits = |bundle: &&Bundle| {
                bundle.signer == *name
                    && labels.as_ref().is_some_and(|selector| selects(selector, &bundle.labels))
            };
            all.values().filter(fits).collect()
        }
    }
}

/// Them in words.
pub(super) fn told(chosen: &Chosen) -> String {
    match chosen {
        Chosen::Name(name) => format!("clustertrustbundle {name:?}"),
        Chosen::Signer { name, .. } => format!("clustertrustbundles of signer {name:?}"),
    }
}

/// That there is none of them.
pub(super) fn none(chosen: &Chosen) -> String {
    match chosen {
        Chosen::Name(_) => format!("{} not found", told(chosen)),
        Chosen::Signer { name, .. } => {
            format!("combination of signerName and labelSelector matched zero ClusterTrustBundles: {name:?}")
        }
    }
}

/// Whether a selector takes what has these labels. An operator of a later kind takes nothing.
fn selects(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    let equal = |(key, value): (&String, &String)| labels.get(key) == Some(value);
    let fits = |requirement: &LabelSelectorRequirement| {
        let LabelSelectorRequirement { key, operator, values } = requirement;
        let value = labels.get(key);
        let is_in = || value.is_some_and(|value| values.iter().flatten().any(|one| one == value));
        match operator.as_str() {
            "In" => is_in(),
            "NotIn" => !is_in(),
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            _ => false,
        }
    };
    selector.match_labels.iter().flatten().all(equal) && selector.match_expressions.iter().flatten().all(fits)
}

/// The certificates of these bundles, each once, and nothing else of their texts; or why there is none to be had. Their
/// order is that of the texts, which nobody may rely on.
pub(super) fn certificates(bundles: &[&Bundle]) -> Result<String, String> {
    let (mut seen, mut all) = (BTreeSet::new(), String::new());
    for bundle in bundles {
        for body in bodies(&bundle.text)? {
            if !seen.contains(&body) {
                write(&mut all, &body);
                seen.insert(body);
            }
        }
    }
    if all.is_empty() { Err("it holds no certificate".to_owned()) } else { Ok(all) }
}

/// The certificates of a text, without their frames and line ends.
fn bodies(text: &str) -> Result<Vec<String>, String> {
    let (mut all, mut rest) = (Vec::new(), text);
    while let Some((_, after)) = rest.split_once(BEGIN) {
        let Some((body, after)) = after.split_once(END) else {
            return Err("its text ends within a certificate".to_owned());
        };
        rest = after;
        let body: String = body.split_whitespace().collect();
        let coded = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
        if body.is_empty() || !body.bytes().all(coded) {
            return Err("it holds something that is no certificate".to_owned());
        }
        all.push(body);
    }
    Ok(all)
}

/// Adds a certificate in lines of 64 characters; all of them are ASCII.
fn write(all: &mut String, body: &str) {
    all.push_str(BEGIN);
    all.push('\n');
    for (index, character) in body.chars().enumerate() {
        if index > 0 && index % 64 == 0 {
            all.push('\n');
        }
        all.push(character);
    }
    all.push('\n');
    all.push_str(END);
    all.push('\n');
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn bundle(signer: &str, labels: &[(&str, &str)], text: &str) -> Bundle {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Bundle { signer: signer.to_owned(), labels, text: text.to_owned() }
    }

    fn of_signer(selector: Value) -> Chosen {
        Chosen::Signer { name: "x/s".to_owned(), labels: serde_json::from_value(selector).unwrap() }
    }

    #[test]
    fn each_certificate_once_and_nothing_else() {
        let one = format!("{BEGIN}\n{}\nQQ==\n{END}\n", "A".repeat(64));
        let other = format!("{BEGIN}\nQg==\n{END}\n");
        let first = bundle("", &[], &format!("a comment\n{one}\nSubject: x\n{other}{one}"));
        let (again, third) = (bundle("", &[], &other), format!("{BEGIN}\nQz==\n{END}\n"));
        let more = bundle("", &[], &format!("{other}{third}"));
        assert_eq!(certificates(&[&first]).unwrap(), format!("{one}{other}"));
        assert_eq!(certificates(&[&first, &again, &more]).unwrap(), format!("{one}{other}{third}"));
        for bad in ["", "x", BEGIN, &format!("{BEGIN}\n{END}"), &format!("{BEGIN}\nProc-Type: 4\n{END}")] {
            assert!(certificates(&[&bundle("", &[], bad)]).is_err(), "{bad}");
        }
        let broken = bundle("", &[], BEGIN);
        assert!(certificates(&[&first, &broken]).is_err(), "half of what was asked for is no answer");
    }

    #[test]
    fn bundles_are_chosen_by_name_or_by_signer_and_labels() {
        let all: Bundles = [
            ("a", bundle("x/s", &[("env", "a"), ("v", "1")], "A")),
            ("b", bundle("x/s", &[("env", "b")], "B")),
            ("c", bundle("x/other", &[("env", "a")], "C")),
            ("d", bundle("", &[("env", "a")], "D")),
            ("e", bundle("x/s", &[], "E")),
        ]
        .map(|(name, bundle)| (name.to_owned(), bundle))
        .into();
        let texts =
            |what: &Chosen| chosen(&all, what).iter().map(|bundle| bundle.text.as_str()).collect::<String>();
        assert_eq!(texts(&Chosen::Name("c".into())), "C");
        assert_eq!(texts(&Chosen::Name("z".into())), "");
        let expression = |operator: &str, values: Value| json!({ "matchExpressions": [{ "key": "env", "operator": operator, "values": values }] });
        let cases = [
            (json!(null), ""),
            (json!({}), "ABE"),
            (json!({ "matchLabels": { "env": "a" } }), "A"),
            (json!({ "matchLabels": { "env": "a", "v": "2" } }), ""),
            (expression("In", json!(["a", "b"])), "AB"),
            (expression("NotIn", json!(["a"])), "BE"),
            (expression("Exists", json!(null)), "AB"),
            (expression("DoesNotExist", json!(null)), "E"),
            (expression("Near", json!(["a"])), ""),
            (
                json!({ "matchLabels": { "v": "1" }, "matchExpressions": [{ "key": "env", "operator": "Exists" }] }),
                "A",
            ),
        ];
        for (selector, expected) in cases {
            assert_eq!(texts(&of_signer(selector.clone())), expected, "{selector}");
        }
    }
}
