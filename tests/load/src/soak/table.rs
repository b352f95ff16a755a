//! The figures, and whether each is as it should be.

use std::fmt;

/// All figures of a run, in the order in which they came.
#[derive(Default)]
pub struct Table {
    scenario: &'static str,
    rows: Vec<Row>,
}

struct Row {
    scenario: &'static str,
    figure: String,
    value: String,
    bound: String,
    /// `None` if it is there to be read only.
    passed: Option<bool>,
}

impl Table {
    /// Names what the next figures are of.
    pub fn begin(&mut self, scenario: &'static str) {
        self.scenario = scenario;
    }

    /// A figure to be read.
    pub fn note(&mut self, figure: &str, value: impl fmt::Display) {
        self.push(figure, value.to_string(), String::new(), None);
    }

    /// A number that is to be at most `bound`.
    pub fn at_most(&mut self, figure: &str, unit: &str, value: f64, bound: f64) {
        let bound_text = format!("<= {}", show(bound, unit));
        self.push(figure, show(value, unit), bound_text, Some(value <= bound));
    }

    /// A number that is to be at least `bound`.
    pub fn at_least(&mut self, figure: &str, unit: &str, value: f64, bound: f64) {
        let bound_text = format!(">= {}", show(bound, unit));
        self.push(figure, show(value, unit), bound_text, Some(value >= bound));
    }

    /// A count that is to be exactly this.
    pub fn exactly(&mut self, figure: &str, value: usize, expected: usize) {
        let passed = value == expected;
        self.push(
            figure,
            value.to_string(),
            format!("= {expected}"),
            Some(passed),
        );
    }

    /// How many figures are not as they should be.
    pub fn failed(&self) -> usize {
        let failed = self.rows.iter().filter(|row| row.passed == Some(false));
        failed.count()
    }

    fn push(&mut self, figure: &str, value: String, bound: String, passed: Option<bool>) {
        let scenario = self.scenario;
        eprintln!("  {figure}: {value} {bound} {}", verdict(passed));
        self.rows.push(Row {
            scenario,
            figure: figure.to_owned(),
            value,
            bound,
            passed,
        });
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| scenario | figure | value | bound | |")?;
        writeln!(f, "|---|---|---:|---:|---|")?;
        self.rows.iter().try_for_each(|row| {
            let Row {
                scenario,
                figure,
                value,
                bound,
                passed,
            } = row;
            let verdict = verdict(*passed);
            writeln!(
                f,
                "| {scenario} | {figure} | {value} | {bound} | {verdict} |"
            )
        })
    }
}

fn verdict(passed: Option<bool>) -> &'static str {
    match passed {
        Some(true) => "pass",
        Some(false) => "FAIL",
        None => "",
    }
}

fn show(value: f64, unit: &str) -> String {
    let digits = if value.abs() < 10.0 && value.fract() != 0.0 {
        2
    } else {
        0
    };
    format!("{value:.digits$} {unit}").trim_end().to_owned()
}
