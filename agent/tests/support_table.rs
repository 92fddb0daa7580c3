//! The README's table of pod fields is made from the gate's own, so that it says what the code does.
//! `UPDATE_DOCS=1 cargo test -p pinnace --test support_table` writes it anew.

#![expect(clippy::unwrap_used, reason = "a test: a README that cannot be read is a failure")]

use std::fmt::Write as _;
use std::path::Path;

use pinnace::source::gate::{FIELDS, State};

const BEGIN: &str = "<!-- pod fields: begin -->\n";
const END: &str = "<!-- pod fields: end -->";

fn table() -> String {
    let mut text = String::from("| field | in this version |\n|---|---|\n");
    let mut fields: Vec<_> =
        FIELDS.iter().filter(|field| !matches!(field.state, State::NothingToDo(_))).collect();
    fields.sort_by_key(|field| field.path);
    for field in fields {
        writeln!(text, "| `{}` | {} |", field.path, field.state.to_string().replace('|', "\\|")).unwrap();
    }
    text
}

#[test]
fn the_readme_shows_the_gates_own_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").join("README.md");
    let readme = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = readme.split_once(BEGIN).expect("README.md marks the table's begin");
    let (shown, after) = rest.split_once(END).expect("README.md marks the table's end");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{}{END}{after}", table())).unwrap();
        return;
    }
    assert_eq!(shown, table(), "run: UPDATE_DOCS=1 cargo test -p pinnace --test support_table");
}
