use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::clock::BootTime;
use crate::source::files::judge::{Ground, judge};

/// A directory as a look would see it, and the state that follows from it.
struct Bench {
    state: State,
    files: BTreeMap<PathBuf, (String, Known)>,
    millis: u64,
}

fn manifest(name: &str, image: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec: {{containers: [{{name: c, image: {image}}}]}}\n"
    )
}

impl Bench {
    fn new() -> Self {
        Self { state: State::default(), files: BTreeMap::new(), millis: 0 }
    }

    fn now(&self) -> Now {
        let boot = BootTime { boot_id: "b".into(), millis: self.millis };
        Now { boot, wall: Timestamp::from_second(i64::try_from(self.millis).unwrap()).unwrap() }
    }

    fn write(&mut self, file: &str, text: &str) {
        let known = Known { stamp: None, digest: None, in_use: false };
        self.files.insert(file.into(), (text.to_owned(), known));
    }

    fn remove(&mut self, file: &str) {
        self.files.remove(&PathBuf::from(file));
    }

    fn look(&mut self) {
        let now = self.now();
        let judged = |(path, (text, _)): (&PathBuf, &(String, Known))| {
            let outcome =
                judge(text.as_bytes(), path, &Ground { node: "n".into(), is_alone: true }, now.wall);
            (path.clone(), Seen::Judged { stamp: None, digest: None, outcome })
        };
        let files = self.files.iter().map(judged).collect();
        self.state = decide(&self.state, Look::Read { files, problems: Vec::new() }, &now);
    }

    fn look_after(&mut self, millis: u64) {
        self.millis += millis;
        self.look();
    }

    fn unreadable(&mut self) {
        let problem = Problem { file: "/m".into(), field: None, reason: "cannot be read".into() };
        self.state = decide(&self.state, Look::Unreadable(problem), &self.now());
    }

    /// `file=image` of each desired pod.
    fn pods(&self) -> Vec<String> {
        let mut pods: Vec<_> = self
            .state
            .desired
            .pods
            .values()
            .map(|pod| {
                let image = pod.pod.spec.as_ref().and_then(|spec| spec.containers[0].image.clone());
                format!("{}={}", origin(pod).display(), image.unwrap_or_default())
            })
            .collect();
        pods.sort();
        pods
    }

    fn problems(&self) -> Vec<String> {
        self.state.desired.problems.iter().map(ToString::to_string).collect()
    }
}

#[test]
fn pods_come_and_are_synced() {
    let mut bench = Bench::new();
    assert!(!bench.state.desired.synced);
    bench.write("a", &manifest("web", "i"));
    bench.look();
    assert!(bench.state.desired.synced);
    assert_eq!(bench.pods(), ["a=i"]);
    assert_eq!(bench.state.look_again(&bench.now()), None);
}

#[test]
fn a_file_is_gone_only_when_a_later_look_says_so_too() {
    let mut bench = Bench::new();
    bench.write("a", &manifest("web", "i"));
    bench.look();
    bench.remove("a");
    bench.look_after(20_000);
    assert_eq!(bench.pods(), ["a=i"], "one absence");
    assert_eq!(bench.state.look_again(&bench.now()), Some(ABSENCE));
    bench.look_after(249);
    assert_eq!(bench.pods(), ["a=i"], "two absences too close to each other");
    bench.look_after(1);
    assert!(bench.pods().is_empty());
    assert_eq!(bench.state.look_again(&bench.now()), None);
}

#[test]
fn an_editor_that_removes_and_writes_anew_kills_nothing() {
    let mut bench = Bench::new();
    bench.write("a", &manifest("web", "i"));
    bench.look();
    let before = bench.state.desired.pods.clone();
    bench.remove("a");
    bench.look_after(100);
    bench.write("a", &manifest("web", "i"));
    bench.look_after(200);
    assert_eq!(bench.state.desired.pods, before);
    bench.remove("a");
    bench.look_after(200);
    assert_eq!(bench.pods(), ["a=i"], "the first absence was forgotten");
}

#[test]
fn a66_a_broken_edit_keeps_the_last_good_generation() {
    let mut bench = Bench::new();
    bench.write("a", &manifest("web", "i"));
    bench.write("b", &manifest("other", "i"));
    bench.look();
    for broken in ["", "kind: Pod", "\0", "apiVersion: v1\nkind: Secret\nmetadata: {name: m}\ntype: 1\n"] {
        bench.write("a", broken);
        bench.look_after(1_000);
        assert_eq!(bench.pods(), ["a=i", "b=i"], "{broken:?}");
        let problems = bench.problems();
        assert!(
            problems.len() == 1 && problems[0].ends_with("; the last good version stays"),
            "{problems:?}"
        );
    }
    bench.write("a", &manifest("web", "j"));
    bench.look_after(1_000);
    assert_eq!((bench.pods(), bench.problems()), (vec!["a=j".to_owned(), "b=i".to_owned()], vec![]));
}

#[test]
fn nothing_is_removed_while_the_directory_cannot_be_read() {
    let mut bench = Bench::new();
    bench.unreadable();
    assert!(!bench.state.desired.synced);
    bench.write("a", &manifest("web", "i"));
    bench.look_after(1);
    bench.remove("a");
    bench.look_after(1);
    bench.millis += 1_000_000;
    bench.unreadable();
    assert_eq!(
        (bench.pods(), bench.problems()),
        (vec!["a=i".to_owned()], vec!["/m: cannot be read".to_owned()])
    );
    assert!(bench.state.desired.synced);
    bench.look_after(1);
    assert_eq!(bench.pods(), ["a=i"], "an absence counts from the first look that could see it");
}

#[test]
fn a67_of_two_files_with_one_name_the_first_stays_and_the_other_is_a_problem() {
    let mut bench = Bench::new();
    bench.write("b", &manifest("web", "i"));
    bench.write("c", &manifest("web", "j"));
    bench.look();
    assert_eq!(bench.pods(), ["b=i"]);
    assert_eq!(bench.problems(), ["c: metadata.name: default/web-n is already defined by b"]);
    bench.write("a", &manifest("web", "k"));
    bench.look_after(1_000);
    assert_eq!(bench.pods(), ["b=i"], "a newcomer does not displace what runs");
    bench.write("b", &manifest("web", "l"));
    bench.look_after(1_000);
    assert_eq!(bench.pods(), ["b=l"], "an edit keeps the name");
    bench.remove("b");
    bench.look_after(1_000);
    assert_eq!(bench.problems(), Vec::<String>::new(), "who waits for its rival to be gone is no problem");
    bench.look_after(1_000);
    assert_eq!(bench.pods(), ["a=k"]);
}

#[test]
fn a67_two_files_with_one_uid_are_one_pod() {
    let mut bench = Bench::new();
    let with_uid = |name: &str| manifest(name, "i").replace("}\nspec", ", uid: u}\nspec");
    bench.write("a", &with_uid("one"));
    bench.write("b", &with_uid("two"));
    bench.look();
    assert_eq!(bench.pods(), ["a=i"]);
    assert_eq!(bench.problems(), ["b: metadata.uid: u is already defined by a"]);
}

#[test]
fn a_rename_hands_over_without_a_gap_and_without_both() {
    let mut bench = Bench::new();
    bench.write("a", &manifest("web", "i"));
    bench.look();
    bench.remove("a");
    bench.write("b", &manifest("web", "i"));
    bench.look_after(1_000);
    assert_eq!((bench.pods(), bench.problems()), (vec!["a=i".to_owned()], vec![]));
    bench.look_after(250);
    assert_eq!(bench.pods(), ["b=i"]);
}

#[test]
fn b66_the_same_name_with_a_new_manifest_is_a_new_uid_under_one_name() {
    let mut bench = Bench::new();
    bench.write("a", &manifest("web", "i"));
    bench.look();
    let old = bench.state.desired.pods.keys().next().cloned();
    bench.write("a", &manifest("web", "j"));
    bench.look_after(1);
    let new = bench.state.desired.pods.keys().next().cloned();
    assert_ne!(old, new);
    assert_eq!(bench.state.desired.pods.len(), 1);
}

/// What the journal would hold of the present pods.
fn journal(bench: &Bench) -> Vec<Arc<DesiredPod>> {
    bench.state.desired.pods.values().map(|pod| Arc::new(DesiredPod::clone(pod))).collect()
}

#[test]
fn a_start_goes_on_with_what_was_admitted() {
    let mut first = Bench::new();
    first.write("a", &manifest("web", "i"));
    first.write("b", &manifest("other", "i"));
    first.write("c", &manifest("third", "i"));
    first.look();
    let admitted = journal(&first);
    let mut bench = Bench::new();
    bench.state = State::admitted(admitted.clone());
    assert!(!bench.state.desired.synced);
    assert_eq!(bench.pods(), ["a=i", "b=i", "c=i"]);
    bench.unreadable();
    assert!(!bench.state.desired.synced);
    assert_eq!(bench.pods(), ["a=i", "b=i", "c=i"]);
    bench.write("a", &manifest("web", "i"));
    bench.write("b", "half");
    bench.look_after(60_000);
    assert!(bench.state.desired.synced);
    assert_eq!(bench.pods(), ["a=i", "b=i", "c=i"], "one look does not prove that c is gone");
    for pod in &admitted {
        assert_eq!(
            bench.state.desired.pods.get(&pod.uid),
            Some(pod),
            "unchanged, with the time it was first seen"
        );
    }
    bench.look_after(250);
    assert_eq!(bench.pods(), ["a=i", "b=i"]);
}

#[test]
fn an_admitted_pod_keeps_its_defaults_and_is_judged_anew_by_the_gate() {
    let mut first = Bench::new();
    first.write("a", &manifest("web", "i"));
    first.look();
    let mut admitted = DesiredPod::clone(&journal(&first)[0]);
    let mut pod = admitted.pod.as_ref().clone();
    pod.spec.as_mut().unwrap().dns_policy = Some("Default".to_owned());
    admitted.pod = Arc::new(pod.clone());
    admitted.held =
        vec![crate::source::desired::Held { field: "spec.x".into(), reason: "was not built".into() }];
    let mut bench = Bench::new();
    bench.state = State::admitted(vec![Arc::new(admitted)]);
    bench.write("a", &manifest("web", "i"));
    bench.look();
    let now = bench.state.desired.pods.values().next().unwrap();
    assert_eq!((now.pod.as_ref(), now.held.len()), (&pod, 0));
}

#[test]
fn a_file_that_is_being_written_stays_as_it_was_and_is_looked_at_again() {
    let mut bench = Bench::new();
    bench.write("a", &manifest("web", "i"));
    bench.look();
    let again = Duration::from_millis(70);
    let files =
        [(PathBuf::from("a"), Seen::Busy { again }), (PathBuf::from("b"), Seen::Busy { again })].into();
    bench.state = decide(&bench.state, Look::Read { files, problems: Vec::new() }, &bench.now());
    assert_eq!((bench.pods(), bench.problems()), (vec!["a=i".to_owned()], vec![]));
    assert_eq!(bench.state.look_again(&bench.now()), Some(again));
}

/// One thing that may happen to the directory between two looks.
#[derive(Debug, Clone)]
enum Step {
    Write { file: u8, name: u8, image: u8 },
    Break { file: u8 },
    Remove { file: u8 },
    Unreadable,
    Wait { millis: u64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0_u8..4, 0_u8..3, 0_u8..3).prop_map(|(file, name, image)| Step::Write { file, name, image }),
        (0_u8..4).prop_map(|file| Step::Break { file }),
        (0_u8..4).prop_map(|file| Step::Remove { file }),
        Just(Step::Unreadable),
        (0_u64..600).prop_map(|millis| Step::Wait { millis }),
    ];
    proptest::collection::vec(step, 0..25)
}

proptest! {
    #[test]
    fn names_are_unique_and_looking_twice_changes_nothing(steps in steps()) {
        let mut bench = Bench::new();
        for step in steps {
            let before = bench.state.desired.clone();
            let unreadable = matches!(step, Step::Unreadable);
            match step {
                Step::Write { file, name, image } => bench.write(&format!("f{file}"), &manifest(&format!("p{name}"), &format!("i{image}"))),
                Step::Break { file } => bench.write(&format!("f{file}"), "broken"),
                Step::Remove { file } => bench.remove(&format!("f{file}")),
                Step::Unreadable => bench.unreadable(),
                Step::Wait { millis } => bench.millis += millis,
            }
            if unreadable {
                prop_assert_eq!(&before.pods, &bench.state.desired.pods);
                continue;
            }
            bench.look();
            let once = bench.state.desired.clone();
            let names: std::collections::BTreeSet<String> = once.pods.values().map(|pod| pod.full_name()).collect();
            prop_assert_eq!(names.len(), once.pods.len(), "two pods with one full name");
            bench.look();
            prop_assert_eq!(&once, &bench.state.desired);
        }
        // Quiet at last: what is desired is exactly what the files say, up to names that collide.
        bench.look_after(1_000);
        bench.look_after(1_000);
        let unusable = bench.state.desired.problems.len();
        prop_assert!(bench.state.desired.pods.len() <= bench.files.len());
        prop_assert!(bench.state.desired.pods.len() + unusable >= bench.files.len());
    }
}

#[test]
fn objects_are_found_kept_while_broken_and_gone_after_a_second_look() {
    let mut bench = Bench::new();
    let map = |value: &str| {
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: m}}\ndata: {{k: {value}}}\n")
    };
    let found = |bench: &Bench| {
        let all = bench.state.objects()?;
        let told =
            |data: &Arc<crate::objects::Data>| String::from_utf8_lossy(data.values["k"].bytes()).into_owned();
        Some(all.values().map(told).collect::<Vec<_>>())
    };
    bench.unreadable();
    assert_eq!(found(&bench), None, "nothing was read");
    bench.write("a", &map("one"));
    bench.write("b", &map("two"));
    bench.look();
    assert_eq!(found(&bench), Some(vec!["one".to_owned()]));
    assert_eq!(bench.problems(), ["b: metadata.name: configmap default/m is already defined by a"]);
    bench.write("a", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\ndata: 1\n");
    bench.look_after(1_000);
    assert_eq!(found(&bench), Some(vec!["one".to_owned()]), "the last good version stays");
    bench.write("a", &map("three"));
    bench.look_after(1_000);
    assert_eq!(found(&bench), Some(vec!["three".to_owned()]));
    bench.remove("a");
    bench.look_after(1_000);
    assert_eq!(found(&bench), Some(vec!["three".to_owned()]), "one absence proves nothing");
    bench.look_after(1_000);
    assert_eq!(found(&bench), Some(vec!["two".to_owned()]));
    bench.write("b", &manifest("web", "i"));
    bench.look_after(1_000);
    assert_eq!((found(&bench), bench.pods()), (Some(Vec::new()), vec!["b=i".to_owned()]));
}
