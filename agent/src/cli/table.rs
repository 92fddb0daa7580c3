//! Columns as kubectl aligns them: as wide as their widest cell, three spaces apart, headings in capitals. Pure.

/// Spaces between columns.
const GAP: usize = 3;

/// Headings and rows in aligned columns, each line ended by a newline.
#[must_use]
pub fn render<const N: usize>(headings: [&str; N], rows: &[[String; N]]) -> String {
    let mut widths = headings.map(width);
    for row in rows {
        for (widest, cell) in widths.iter_mut().zip(row) {
            *widest = (*widest).max(width(&clean(cell)));
        }
    }
    let mut out = String::new();
    line(headings.map(str::to_owned).as_slice(), &widths, &mut out);
    for row in rows {
        line(row, &widths, &mut out);
    }
    out
}

fn line(cells: &[String], widths: &[usize], out: &mut String) {
    let start = out.len();
    for (cell, widest) in cells.iter().zip(widths) {
        let cell = clean(cell);
        let padding = widest.saturating_sub(width(&cell)).saturating_add(GAP);
        out.push_str(&cell);
        out.extend(std::iter::repeat_n(' ', padding));
    }
    let end = out.get(start..).map_or(0, |line| line.trim_end().len());
    out.truncate(start.saturating_add(end));
    out.push('\n');
}

/// A cell on one line, without anything that a terminal would obey: texts come from manifests and runtimes.
#[must_use]
pub fn clean(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    text.trim_end().chars().map(plain).collect()
}

fn width(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [["web".to_owned(), "1".to_owned()], ["a-longer-name".to_owned(), String::new()]];
        assert_eq!(render(["NAME", "N"], &rows), "NAME            N\nweb             1\na-longer-name\n");
    }

    #[test]
    fn a_terminal_obeys_nothing_in_a_cell() {
        let rows = [["a\x1b[31m\nb".to_owned(), "\u{e9}".to_owned()]];
        assert_eq!(render(["X", "Y"], &rows), "X          Y\na [31m b   \u{e9}\n");
    }

    proptest! {
        #[test]
        fn one_line_per_row(rows in prop::collection::vec(["\\PC{0,9}", "\\PC{0,9}"], 0..5)) {
            prop_assert_eq!(render(["A", "B"], &rows).lines().count(), rows.len() + 1);
        }
    }
}
