//! The table: one line per figure, with its goal and whether it was reached. Pure but for printing.

use std::time::Duration;

use crate::machine;

/// Prints lines as they come and counts the goals that were missed.
#[derive(Debug, Default)]
pub(crate) struct Report {
    goals: usize,
    missed: Vec<String>,
    busy: usize,
}

impl Report {
    /// A heading, with what the machine was doing besides.
    pub(crate) fn section(&mut self, name: &str) {
        let pressure = machine::pressure();
        let busy = pressure.is_some_and(|pressure| pressure > machine::BUSY);
        self.busy += usize::from(busy);
        let pressure = pressure.map_or("unknown".to_owned(), |pressure| format!("{pressure:.0} %"));
        let warning = if busy { "; BUSY: absolute figures are too high, read the ratios" } else { "" };
        println!("\n{name}  (waiting for CPU: {pressure}{warning})");
        println!("  {:<60} {:>16} {:<8} {:>8}", "figure", "reached", "unit", "goal");
    }

    /// A figure without a goal.
    pub(crate) fn plain(&mut self, what: &str, value: f64, unit: &str) {
        println!("  {what:<60} {:>16} {unit:<8} {:>8}", number(value), "-");
    }

    /// The median and the 99th percentile of times, in ms.
    pub(crate) fn percentiles(&mut self, what: &str, times: &Samples) {
        let both = format!("{} / {}", number(ms(times.p50())), number(ms(times.at(0.99))));
        println!(
            "  {:<60} {both:>16} {:<8} {:>8}",
            format!("{what}, p50 / p99 of {}", times.len()),
            "ms",
            "-"
        );
    }

    /// A figure that should be at most `goal`.
    pub(crate) fn at_most(&mut self, what: &str, value: f64, unit: &str, goal: f64) {
        let reached = value <= goal;
        self.goals += 1;
        if !reached {
            self.missed.push(format!("{what}: {} {unit}, goal {}", number(value), number(goal)));
        }
        let mark = if reached { "" } else { "  OVER" };
        println!("  {what:<60} {:>16} {unit:<8} {:>8}{mark}", number(value), format!("<={}", number(goal)));
    }

    /// A figure that should be at least `goal`.
    pub(crate) fn at_least(&mut self, what: &str, value: f64, unit: &str, goal: f64) {
        let reached = value >= goal;
        self.goals += 1;
        if !reached {
            self.missed.push(format!("{what}: {} {unit}, goal {} or more", number(value), number(goal)));
        }
        let mark = if reached { "" } else { "  UNDER" };
        println!("  {what:<60} {:>16} {unit:<8} {:>8}{mark}", number(value), format!(">={}", number(goal)));
    }

    /// Something that explains the lines around it.
    pub(crate) fn note(&mut self, text: &str) {
        println!("  {text}");
    }

    /// The last lines.
    pub(crate) fn end(&self) {
        println!("\n{} of {} goals reached", self.goals - self.missed.len(), self.goals);
        for missed in &self.missed {
            println!("  missed: {missed}");
        }
        if self.busy > 0 {
            println!("{} section(s) began on a busy machine", self.busy);
        }
    }
}

pub(crate) fn number(value: f64) -> String {
    if value >= 100.0 {
        format!("{value:.0}")
    } else if value >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

/// Times, of which percentiles are asked.
#[derive(Debug, Default)]
pub(crate) struct Samples(Vec<Duration>);

impl Samples {
    pub(crate) fn add(&mut self, sample: Duration) {
        self.0.push(sample);
    }

    /// Number of samples.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The smallest sample that at least this share of all is not above; 1.0 is the maximum.
    pub(crate) fn at(&self, share: f64) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let rank = (share * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }

    pub(crate) fn p50(&self) -> Duration {
        self.at(0.5)
    }
}

pub(crate) fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
