use proptest::prelude::*;

use super::*;
use crate::objects::Kind;

fn object(name: &str) -> Subject {
    Subject::Object(Reference { kind: Kind::Secret, namespace: "ns".into(), name: name.into() })
}

fn uid(text: &str) -> PodUid {
    PodUid::new(text).unwrap()
}

fn data(value: &str, version: &str) -> Option<Arc<Data>> {
    let values = [("k".to_owned(), value.into())].into();
    Some(Arc::new(Data { values, version: ("u".into(), version.into()), ..Data::default() }))
}

fn write(book: &Book, name: &str, data: Option<Arc<Data>>) {
    book.write(&object(name), Ok(Answer::Object(data)), Instant::now());
}

async fn changed(book: &Book) -> Vec<String> {
    let taken = tokio::time::timeout(Duration::from_millis(1), book.changed.take(99)).await;
    taken.unwrap_or_default().iter().map(ToString::to_string).collect()
}

#[tokio::test(start_paused = true)]
async fn only_holders_hear_of_a_change_and_only_of_one() {
    let book = Book::default();
    let now = Instant::now();
    book.hold(&uid("a"), [object("x"), Subject::Services].into(), now);
    book.hold(&uid("b"), [object("x"), object("y")].into(), now);
    write(&book, "x", data("1", "1"));
    assert!(changed(&book).await.is_empty(), "a first answer is no change");
    write(&book, "x", data("1", "2"));
    assert!(changed(&book).await.is_empty(), "a version is no content");
    write(&book, "y", None);
    write(&book, "y", data("1", "3"));
    assert_eq!(changed(&book).await, ["b"]);
    write(&book, "y", None);
    assert_eq!(changed(&book).await, ["b"]);
    book.release(&uid("b"), now);
    write(&book, "x", data("2", "4"));
    assert_eq!(changed(&book).await, ["a"]);
}

#[tokio::test(start_paused = true)]
async fn words_are_counted_for_who_holds_and_end_with_the_release() {
    let book = Book::default();
    let now = Instant::now();
    book.hold(&uid("a"), [object("x"), Subject::Services].into(), now);
    let mut words = book.words(&uid("a"));
    let other = book.words(&uid("b"));
    write(&book, "x", None);
    write(&book, "x", None);
    assert_eq!(*words.borrow(), 0, "whoever came before has this very answer");
    write(&book, "x", data("1", "1"));
    assert_eq!(*words.borrow(), 1);
    write(&book, "x", data("1", "2"));
    assert_eq!(*words.borrow(), 1, "a version is no content");
    book.write(&object("x"), Err(FetchError::Silent), now);
    assert_eq!(*words.borrow(), 1);
    write(&book, "x", data("1", "2"));
    assert_eq!(*words.borrow(), 2, "it can be asked for again");
    // Services change all the time and are waited for by nobody, once they are there.
    let services = |name: &str| {
        let (name, namespace) = (name.to_owned(), "ns".to_owned());
        let one = ServiceInfo { name, namespace, cluster_ip: String::new(), ports: Vec::new() };
        Ok(Answer::Services(Arc::new(by_namespace([one]))))
    };
    book.write(&Subject::Services, services("a"), now);
    book.write(&Subject::Services, services("b"), now);
    assert_eq!(*words.borrow(), 2);
    book.write(&Subject::Services, Err(FetchError::Silent), now);
    book.write(&Subject::Services, services("b"), now);
    assert_eq!((*words.borrow_and_update(), *other.borrow()), (3, 0));
    book.release(&uid("a"), now);
    assert!(words.changed().await.is_err(), "nothing more will come");
}

#[tokio::test(start_paused = true)]
async fn what_nobody_holds_is_kept_a_while() {
    let book = Book::default();
    let began = Instant::now();
    book.hold(&uid("a"), [object("x")].into(), began);
    book.read(&object("asked"), began);
    let tasks = book.take_up();
    assert_eq!(tasks.len(), 2);
    assert!(book.take_up().is_empty(), "each is taken up once");
    assert_eq!(book.drop_unused(began, UNUSED), Some(began + UNUSED), "what was only asked for");
    book.release(&uid("a"), began + UNUSED);
    assert_eq!(book.drop_unused(began + UNUSED, UNUSED), Some(began + UNUSED * 2));
    assert_eq!(tasks.iter().map(|task| task.over.is_cancelled()).collect::<Vec<_>>(), [true, false]);
    // Held again in time: nothing is dropped.
    book.hold(&uid("b"), [object("x")].into(), began + UNUSED + Duration::from_secs(1));
    assert_eq!(book.drop_unused(began + UNUSED * 9, UNUSED), None);
    book.release(&uid("b"), began + UNUSED * 9);
    book.drop_unused(began + UNUSED * 10, UNUSED);
    assert_eq!((book.len(), tasks.iter().all(|task| task.over.is_cancelled())), (0, true));
}

#[tokio::test(start_paused = true)]
async fn what_is_known_outlives_a_failure_but_absence_does_not() {
    let book = Book::default();
    let (slot, _) = book.read(&object("x"), Instant::now());
    book.write(&object("x"), Err(FetchError::Silent), Instant::now());
    assert!(matches!(slot.borrow().object(), Err(FetchError::Silent)));
    write(&book, "x", None);
    assert!(matches!(slot.borrow().object(), Ok(None)));
    book.write(&object("x"), Err(FetchError::Silent), Instant::now());
    assert!(matches!(slot.borrow().object(), Err(FetchError::Silent)));
    write(&book, "x", data("1", "1"));
    book.write(&object("x"), Err(FetchError::Silent), Instant::now());
    assert!(slot.borrow().object().unwrap().is_some());
    assert_eq!(slot.borrow().tries, 5);
}

proptest! {
    /// Whatever pods come, go and change what they hold: what is held is kept, and in the end nothing is.
    #[test]
    fn nothing_that_is_held_is_dropped_and_nothing_else_stays(
        steps in prop::collection::vec((0_u8..4, prop::collection::btree_set(0_u8..5, 0..4)), 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let book = Book::default();
            let mut held: BTreeMap<u8, BTreeSet<u8>> = BTreeMap::new();
            let mut now = Instant::now();
            let mut running: BTreeMap<Subject, CancellationToken> = BTreeMap::new();
            for (pod, names) in steps {
                let subjects = names.iter().map(|name| object(&format!("o{name}"))).collect();
                book.hold(&uid(&format!("p{pod}")), subjects, now);
                held.insert(pod, names);
                now += Duration::from_secs(40);
                book.drop_unused(now, UNUSED);
                running.extend(book.take_up().into_iter().map(|task| (task.subject, task.over)));
                for name in held.values().flatten() {
                    assert!(!running[&object(&format!("o{name}"))].is_cancelled());
                }
            }
            for pod in held.keys() {
                book.release(&uid(&format!("p{pod}")), now);
            }
            book.drop_unused(now + UNUSED, UNUSED);
            assert_eq!(book.len(), 0);
            assert!(running.values().all(CancellationToken::is_cancelled));
        });
    }
}
