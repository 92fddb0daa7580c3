//! Names against the library that kubelets use.

use proptest::prelude::*;

use super::*;

fn hex(count: usize) -> String {
    "0a".repeat(count / 2)
}

fn check(written: &str, asked: &str, bare: &str, repository: &str) {
    let name = Name::parse(written).unwrap();
    assert_eq!(name.asked, asked, "{written}");
    assert_eq!(name.bare, bare, "{written}");
    assert_eq!(name.repository, repository.replace("DEFAULT", DEFAULT_REGISTRY), "{written}");
}

#[test]
fn a_missing_tag_is_latest_and_a_missing_registry_the_default_one() {
    check("busybox", "busybox:latest", "busybox", "DEFAULT/library/busybox");
    check("a/b", "a/b:latest", "a/b", "DEFAULT/a/b");
    check("a/b:1", "a/b:1", "a/b", "DEFAULT/a/b");
    check("reg:5000/b", "reg:5000/b:latest", "reg:5000/b", "reg:5000/b");
    check("reg:5000/b/c:1", "reg:5000/b/c:1", "reg:5000/b/c", "reg:5000/b/c");
    check("localhost/b", "localhost/b:latest", "localhost/b", "localhost/b");
    check("Reg/b", "Reg/b:latest", "Reg/b", "Reg/b");
    check("[::1]:5000/b:x", "[::1]:5000/b:x", "[::1]:5000/b", "[::1]:5000/b");
    let digest = format!("b@sha256:{}", hex(64));
    check(&digest, &digest, "b", "DEFAULT/library/b");
    let both = format!("reg.x/b:1@sha256:{}", hex(64));
    check(&both, &both, "reg.x/b", "reg.x/b");
    let former = format!("{FORMER_REGISTRY}/b");
    check(&former, &format!("{former}:latest"), &former, "DEFAULT/library/b");
}

#[test]
fn what_is_no_name_says_why() {
    let format = [
        "",
        "/",
        "a//b",
        "a:",
        "a/b:-",
        "a b",
        "a@b",
        "-a",
        "a-",
        "a..b",
        "a___b",
        "reg:x/b",
        "b:",
        "$(rm)",
        "https://reg/b",
        "a@sha256:00",
    ];
    for written in format {
        assert_eq!(Name::parse(written), Err(InvalidName::Format), "{written:?}");
    }
    assert_eq!(Name::parse("a/B:1"), Err(InvalidName::Uppercase("a/B".to_owned())));
    assert_eq!(Name::parse("B"), Err(InvalidName::Uppercase("library/B".to_owned())));
    assert_eq!(Name::parse(&hex(64)), Err(InvalidName::Identifier(hex(64))));
    assert_eq!(Name::parse(&format!("a/{}", "b".repeat(254))), Err(InvalidName::Long));
    assert_eq!(Name::parse(&format!("a@md5:{}", hex(32))), Err(InvalidName::Algorithm));
    assert_eq!(Name::parse(&format!("a@sha256:{}", hex(62))), Err(InvalidName::DigestLength));
    assert_eq!(Name::parse(&format!("a:{}", "t".repeat(129))), Err(InvalidName::Format));
}

proptest! {
    #[test]
    fn any_text_is_a_name_or_an_error(text in ".{0,80}") {
        let _either = Name::parse(&text);
    }

    #[test]
    fn reading_what_is_asked_changes_nothing_more(
        text in "([a-z]{1,5}(\\.[a-z]{1,3})?(:[0-9]{1,4})?/)?[a-z0-9]{1,4}([._-][a-z0-9]{1,3}){0,2}(:[a-z0-9.]{1,5})?",
    ) {
        let Ok(name) = Name::parse(&text) else { return Ok(()) };
        let again = Name::parse(&name.asked).unwrap();
        prop_assert_eq!(&again, &name);
        prop_assert!(name.asked.starts_with(&name.bare) && name.asked.len() > name.bare.len());
        prop_assert!(name.repository.ends_with(&name.bare) || name.repository.starts_with(DEFAULT_REGISTRY));
    }
}
