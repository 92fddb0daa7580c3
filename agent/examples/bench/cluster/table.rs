//! The figures of all subjects side by side, with ratios, and the goals that are held against them.

use crate::cluster::setting::Setting;
use crate::report::{Report, number};

/// One figure of every subject.
struct Row {
    name: String,
    unit: &'static str,
    /// By subject, one value of each round.
    values: Vec<(&'static str, Vec<f64>)>,
}

/// All of them, in the order in which they were first seen.
#[derive(Default)]
pub(super) struct Table(Vec<Row>);

const SUBJECTS: [&str; 3] = ["floor", "agent", "kubelet"];

impl Table {
    pub(super) fn add(&mut self, name: &str, unit: &'static str, subject: &'static str, value: f64) {
        if !self.0.iter().any(|row| row.name == name) {
            self.0.push(Row { name: name.to_owned(), unit, values: Vec::new() });
        }
        let Some(row) = self.0.iter_mut().find(|row| row.name == name) else { return };
        match row.values.iter_mut().find(|(of, _)| *of == subject) {
            Some((_, values)) => values.push(value),
            None => row.values.push((subject, vec![value])),
        }
    }

    /// Median of the rounds.
    fn get(&self, name: &str, subject: &str) -> Option<f64> {
        let row = self.0.iter().find(|row| row.name == name)?;
        row.values.iter().find(|(of, _)| *of == subject).map(|(_, values)| median(values))
    }

    pub(super) fn print(&self) {
        println!(
            "\n  {:<52} {:<7} {:>20} {:>20} {:>20} {:>8} {:>8}",
            "figure", "unit", "floor", "agent", "kubelet", "a/floor", "kub./a"
        );
        for row in &self.0 {
            let cell = |subject: &str| {
                let values = row.values.iter().find(|(of, _)| *of == subject);
                values.map_or("-".to_owned(), |(_, values)| range(values))
            };
            let ratio = |above: &str, below: &str| {
                let ratio = self.get(&row.name, above).zip(self.get(&row.name, below));
                ratio.filter(|(_, below)| *below > 0.0).map_or("-".to_owned(), |(a, b)| number(a / b))
            };
            let [floor, agent, kubelet] = SUBJECTS.map(cell);
            let ratios = (ratio("agent", "floor"), ratio("kubelet", "agent"));
            println!(
                "  {:<52} {:<7} {floor:>20} {agent:>20} {kubelet:>20} {:>8} {:>8}",
                row.name, row.unit, ratios.0, ratios.1
            );
        }
        println!();
    }

    /// The goals of the agent; those of a kubelet's figures are nobody's.
    pub(super) fn judge(&self, report: &mut Report, setting: &Setting) {
        println!("  {:<60} {:>16} {:<8} {:>8}", "goal", "reached", "unit", "goal");
        let largest = setting.largest();
        let both = |row: &str| self.get(row, "agent").zip(self.get(row, "floor"));
        if let Some((agent, floor)) = both(&format!("burst of {largest}: started")) {
            report.at_least(
                &format!("burst of {largest}: share of the floor's rate"),
                agent / floor,
                "",
                0.8,
            );
        }
        let limits = [
            ("one by one: create -> Ready, outside the runtime, p50".to_owned(), "ms", 25.0),
            ("one by one, with them: outside the runtime, p50".to_owned(), "ms", 25.0),
            (format!("burst of {largest}: create -> Ready, first"), "ms", 500.0),
            (format!("burst of {largest}: own CPU per pod"), "ms", 3.0),
            ("exit -> terminated in the API, p50".to_owned(), "ms", 60.0),
            (format!("restart with {largest}: exec -> own view complete"), "ms", 60.0),
            (format!("restart with {largest}: pods disturbed"), "", 0.0),
            (format!("delete {largest}: left over"), "", 0.0),
            ("idle with 0: CPU per minute".to_owned(), "ms", 60.0),
            ("idle with 0: RSS".to_owned(), "MiB", 12.0),
        ];
        for (row, unit, goal) in limits {
            if let Some(value) = self.get(&row, "agent") {
                report.at_most(&row, value, unit, goal);
            }
        }
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

/// The median, and the ends where there are several.
fn range(values: &[f64]) -> String {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    match values.len() {
        1 => number(least),
        _ => format!("{} ({}-{})", number(median(values)), number(least), number(most)),
    }
}
