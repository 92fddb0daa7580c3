//! Every route of the HTTPS API, and which of them a path means. Pure.
//!
//! One table and one reader of paths: what is allowed and what is done are decided on the same row, so no path can
//! mean one thing to the one and another to the other. A path that two readers could read differently is refused
//! before anything else looks at it. Names of namespaces, pods and containers need no escapes, so none are taken.

use http::Method;

/// What answers a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handler {
    /// `ok`, or what keeps the agent from its work.
    Health,
    /// Pods of this node.
    Pods,
    /// The configuration that the agent runs with.
    Configz,
    /// A container's log.
    ContainerLogs,
}

/// One row.
#[derive(Debug, PartialEq, Eq)]
pub struct Route {
    /// The path; `{}` stands for one segment.
    pub path: &'static str,
    /// Methods that are answered.
    pub methods: &'static [Method],
    /// What a caller must be allowed on this node's `nodes` object, any one of them: subresources in the order in
    /// which they are asked for (upstream: `pkg/kubelet/server/auth.go`). Until callers are looked up at the API
    /// server they are told here only.
    pub subresources: &'static [&'static str],
    /// Whether the read-only port has it.
    pub read_only: bool,
    /// Whether `enableDebuggingHandlers: false` switches it off.
    pub debugging: bool,
    /// What answers.
    pub handler: Handler,
}

const GET: &[Method] = &[Method::GET];

/// The table.
pub const ROUTES: &[Route] = &[
    Route {
        path: "/healthz",
        methods: GET,
        subresources: &["healthz", "proxy"],
        read_only: true,
        debugging: false,
        handler: Handler::Health,
    },
    Route {
        path: "/pods",
        methods: GET,
        subresources: &["pods", "proxy"],
        read_only: true,
        debugging: false,
        handler: Handler::Pods,
    },
    Route {
        path: "/configz",
        methods: GET,
        subresources: &["configz", "proxy"],
        read_only: false,
        debugging: false,
        handler: Handler::Configz,
    },
    Route {
        path: "/containerLogs/{}/{}/{}",
        methods: GET,
        subresources: &["proxy"],
        read_only: false,
        debugging: true,
        handler: Handler::ContainerLogs,
    },
];

/// Whether a path can be read in one way only: letters, digits and `-._~` in segments that are neither empty nor
/// `.` nor `..`; one slash may end it.
#[must_use]
pub fn is_plain(path: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let Some(rest) = path.strip_prefix('/') else { return false };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    (rest.is_empty() && path.len() == 1)
        || rest.split('/').all(|part| !matches!(part, "" | "." | "..") && part.bytes().all(is_plain))
}

/// The route that a path means, and the segments that stand where its `{}` are.
#[must_use]
pub fn find(path: &str) -> Option<(&'static Route, Vec<&str>)> {
    ROUTES.iter().find_map(|route| Some((route, matching(route.path, path)?)))
}

fn matching<'a>(pattern: &str, path: &'a str) -> Option<Vec<&'a str>> {
    let (mut wanted, mut parts) = (pattern.split('/'), path.split('/'));
    let mut names = Vec::new();
    loop {
        match (wanted.next(), parts.next()) {
            (None, None) => return Some(names),
            (Some("{}"), Some(part)) if !part.is_empty() => names.push(part),
            (Some(wanted), Some(part)) if wanted == part => {}
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn handler(path: &str) -> Option<Handler> {
        find(path).map(|(route, _)| route.handler)
    }

    #[test]
    fn paths_mean_their_route_only() {
        assert_eq!(handler("/pods"), Some(Handler::Pods));
        assert_eq!(find("/containerLogs/ns/web/main").unwrap().1, ["ns", "web", "main"]);
        for path in ["/pods/", "/podsX", "/Pods", "/containerLogs/ns/web", "/containerLogs/a/b/c/d", "/", ""]
        {
            assert_eq!(handler(path), None, "{path}");
        }
    }

    #[test]
    fn a07_what_can_be_read_in_two_ways_is_not_plain() {
        for path in ["/", "/pods", "/pods/", "/containerLogs/ns/web-1.x/main_~"] {
            assert!(is_plain(path), "{path}");
        }
        let odd = [
            "",
            "pods",
            "//pods",
            "/pods//",
            "/./pods",
            "/pods/..",
            "/metrics/../pods",
            "/%2e%2e/pods",
            "/pods%2f",
            "/pods;x=1",
            "/pods\\x",
            "/p\u{f6}ds",
            "/pods%00",
            "//",
            "*",
            "/a b",
        ];
        for path in odd {
            assert!(!is_plain(path), "{path}");
        }
    }

    /// A second, independent reading of the table: by what a path begins with and how many segments follow.
    fn expected(path: &str) -> Option<Handler> {
        match path {
            "/healthz" => return Some(Handler::Health),
            "/pods" => return Some(Handler::Pods),
            "/configz" => return Some(Handler::Configz),
            _ => {}
        }
        let names: Vec<&str> = path.strip_prefix("/containerLogs/")?.split('/').collect();
        (names.len() == 3 && names.iter().all(|name| !name.is_empty())).then_some(Handler::ContainerLogs)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]
        #[test]
        fn a07_a_plain_path_reaches_the_handler_that_it_names_and_no_other(
            parts in prop::collection::vec(
                prop_oneof![
                    Just("pods"), Just("containerLogs"), Just("configz"), Just("healthz"), Just("exec"), Just(""),
                    Just("."), Just(".."), Just("%2e%2e"), Just("%2f"), Just("podsX"), Just("Pods"), Just(";"),
                    Just("ns"), Just("a"), Just("metrics"),
                ],
                0..6,
            ),
            absolute: bool,
        ) {
            let path = format!("{}{}", if absolute { "/" } else { "" }, parts.join("/"));
            if is_plain(&path) {
                prop_assert_eq!(handler(&path), expected(&path));
                // Whoever resolves dots, doubled slashes and escapes arrives at the same path.
                let resolved: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
                let slash = if path.len() > 1 && path.ends_with('/') { "/" } else { "" };
                prop_assert_eq!(format!("/{}{slash}", resolved.join("/")), path);
            } else {
                let odd = path.contains("//") || path.contains('%') || path.contains(';') || !absolute
                    || path.split('/').any(|part| part == "." || part == "..");
                prop_assert!(odd, "{}", path);
            }
        }
    }
}
