//! List filters: every part that is set must hold; ids may be prefixes, labels must all be equal. Pure.

use std::collections::BTreeMap;

use crate::v1;

fn labels_fit(wanted: &BTreeMap<String, String>, found: &BTreeMap<String, String>) -> bool {
    wanted.iter().all(|(key, value)| found.get(key) == Some(value))
}

pub(super) fn sandbox_fits(filter: Option<&v1::PodSandboxFilter>, record: &v1::PodSandbox) -> bool {
    filter.is_none_or(|filter| {
        record.id.starts_with(&filter.id)
            && filter.state.as_ref().is_none_or(|wanted| wanted.state == record.state)
            && labels_fit(&filter.label_selector, &record.labels)
    })
}

pub(super) fn container_fits(filter: Option<&v1::ContainerFilter>, record: &v1::Container) -> bool {
    filter.is_none_or(|filter| {
        record.id.starts_with(&filter.id)
            && record.pod_sandbox_id.starts_with(&filter.pod_sandbox_id)
            && filter.state.as_ref().is_none_or(|wanted| wanted.state == record.state)
            && labels_fit(&filter.label_selector, &record.labels)
    })
}

pub(super) fn container_stats_fit(filter: Option<&v1::ContainerStatsFilter>, record: &v1::Container) -> bool {
    filter.is_none_or(|filter| {
        record.id.starts_with(&filter.id)
            && record.pod_sandbox_id.starts_with(&filter.pod_sandbox_id)
            && labels_fit(&filter.label_selector, &record.labels)
    })
}

pub(super) fn sandbox_stats_fit(filter: Option<&v1::PodSandboxStatsFilter>, record: &v1::PodSandbox) -> bool {
    filter.is_none_or(|filter| {
        record.id.starts_with(&filter.id) && labels_fit(&filter.label_selector, &record.labels)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_a_filter_must_hold() {
        let record = v1::Container {
            id: "abc".into(),
            pod_sandbox_id: "s1".into(),
            state: v1::ContainerState::ContainerRunning.into(),
            labels: [("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())].into(),
            ..Default::default()
        };
        let label = |key: &str, value: &str| [(key.to_owned(), value.to_owned())].into();
        let running = Some(v1::ContainerStateValue { state: v1::ContainerState::ContainerRunning.into() });
        let exited = Some(v1::ContainerStateValue { state: v1::ContainerState::ContainerExited.into() });
        for (fits, filter) in [
            (true, v1::ContainerFilter::default()),
            (true, v1::ContainerFilter { id: "ab".into(), state: running, ..Default::default() }),
            (
                true,
                v1::ContainerFilter {
                    pod_sandbox_id: "s1".into(),
                    label_selector: label("a", "1"),
                    ..Default::default()
                },
            ),
            (false, v1::ContainerFilter { id: "abcd".into(), ..Default::default() }),
            (false, v1::ContainerFilter { state: exited, ..Default::default() }),
            (false, v1::ContainerFilter { label_selector: label("a", "2"), ..Default::default() }),
            (
                false,
                v1::ContainerFilter { pod_sandbox_id: "s2".into(), id: "abc".into(), ..Default::default() },
            ),
        ] {
            assert_eq!(container_fits(Some(&filter), &record), fits, "{filter:?}");
        }
        assert!(container_fits(None, &record));
    }
}
