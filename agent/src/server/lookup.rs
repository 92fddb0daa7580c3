//! Which pod a person means: `namespace/name`, `name`, either without the `-<node>` that a static pod's name
//! ends in, or a UID. Pure.

use super::views::LookupError;

/// A pod as it is known: namespace, name, UID.
pub type Known<'a> = (&'a str, &'a str, &'a str);

/// The UID of the pod that `query` means.
///
/// A UID wins over names, and a full name over one without the suffix. What still fits several pods is
/// ambiguous, also when an old and a new pod share one name: their UIDs tell them apart.
pub fn find<'a>(
    query: &str,
    node: &str,
    pods: impl IntoIterator<Item = Known<'a>>,
) -> Result<&'a str, LookupError> {
    let (namespace, name) = match query.split_once('/') {
        Some((namespace, name)) => (Some(namespace), name),
        None => (None, query),
    };
    let mut best: Option<Match> = None;
    let mut fitting: Vec<Known<'a>> = Vec::new();
    for pod in pods {
        let Some(found) = fit(namespace, name, node, pod) else { continue };
        if best.is_none_or(|best| found > best) {
            best = Some(found);
            fitting.clear();
        }
        if best == Some(found) {
            fitting.push(pod);
        }
    }
    match fitting.as_slice() {
        [] => Err(LookupError::NotFound(format!("pod {query:?} not found"))),
        [(_, _, uid)] => Ok(uid),
        several => Err(LookupError::Ambiguous(names(several))),
    }
}

/// How well a pod fits; the greater the better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Match {
    WithoutSuffix,
    Name,
    Uid,
}

fn fit(namespace: Option<&str>, wanted: &str, node: &str, pod: Known<'_>) -> Option<Match> {
    let (pod_namespace, name, uid) = pod;
    if namespace.is_none() && wanted == uid {
        return Some(Match::Uid);
    }
    if namespace.is_some_and(|namespace| namespace != pod_namespace) {
        return None;
    }
    if name == wanted {
        return Some(Match::Name);
    }
    let stem = name.strip_suffix(node).and_then(|name| name.strip_suffix('-'));
    (!node.is_empty() && stem == Some(wanted)).then_some(Match::WithoutSuffix)
}

fn names(pods: &[Known<'_>]) -> Vec<String> {
    let one_name = |(namespace, name, uid): &Known<'_>| {
        let same = pods.iter().filter(|(ns, other, _)| ns == namespace && other == name).count();
        if same > 1 { (*uid).to_owned() } else { format!("{namespace}/{name}") }
    };
    let mut names: Vec<String> = pods.iter().map(one_name).collect();
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PODS: [Known<'static>; 6] = [
        ("default", "web-node1", "u1"),
        ("kube-system", "web-node1", "u2"),
        ("default", "db-node1", "u3"),
        ("default", "db", "u4"),
        ("default", "twin-node1", "u5"),
        ("default", "twin-node1", "u6"),
    ];

    fn check(query: &str, wanted: Result<&str, &str>) {
        let found = find(query, "node1", PODS).map_err(|error| error.to_string());
        assert_eq!(found.as_deref().map_err(String::as_str), wanted, "{query}");
    }

    #[test]
    fn pods_are_found_by_every_name_they_go_by() {
        check("default/web-node1", Ok("u1"));
        check("default/web", Ok("u1"));
        check("kube-system/web", Ok("u2"));
        check("u2", Ok("u2"));
        check("db-node1", Ok("u3"));
        check("db", Ok("u4"));
    }

    #[test]
    fn what_fits_several_names_them() {
        let both = "more than one matches, say which: default/web-node1, kube-system/web-node1";
        check("web", Err(both));
        check("web-node1", Err(both));
        check("default/twin", Err("more than one matches, say which: u5, u6"));
    }

    #[test]
    fn what_fits_none_is_not_found() {
        check("nope", Err("pod \"nope\" not found"));
        check("other/web", Err("pod \"other/web\" not found"));
        check("", Err("pod \"\" not found"));
        check("default/u1", Err("pod \"default/u1\" not found"));
        check("web-", Err("pod \"web-\" not found"));
        assert!(find("x", "", [("d", "x-", "u")]).is_err(), "an empty node name strips nothing");
    }

    proptest! {
        #[test]
        fn a_full_name_finds_its_pod(
            names in prop::collection::btree_set(("[ab]{1,2}", "[ab-]{1,4}"), 1..8), pick in any::<prop::sample::Index>()
        ) {
            let pods: Vec<(String, String, String)> =
                names.iter().enumerate().map(|(i, (ns, n))| (ns.clone(), n.clone(), format!("U{i}"))).collect();
            let known = || pods.iter().map(|(a, b, c)| (a.as_str(), b.as_str(), c.as_str()));
            let wanted = &pods[pick.index(pods.len())];
            prop_assert_eq!(find(&format!("{}/{}", wanted.0, wanted.1), "a", known()), Ok(wanted.2.as_str()));
        }
    }
}
