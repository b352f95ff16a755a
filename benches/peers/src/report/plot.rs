//! Bars, written as SVG that suits light and dark pages.

use std::fmt::Write as _;

use crate::summary::Line;
use crate::{Side, Suite, number};

const WIDTH: f64 = 900.0;
const LABELS: f64 = 290.0;
const VALUES: f64 = 90.0;
const BAR: f64 = 13.0;
const STEP: f64 = 17.0;

/// A block of bars for each workload, the best on top.
pub fn suite(suite: &Suite<'_>) -> String {
    let mut page = Page::new(suite.name);
    for workload in &suite.workloads {
        let better = if workload.higher_is_better {
            "more"
        } else {
            "less"
        };
        page.heading(&format!(
            "{} ({}, {better} is better)",
            workload.name, workload.unit
        ));
        let mut bars: Vec<_> = workload
            .medians
            .iter()
            .map(|(name, figure)| (*name, *figure))
            .collect();
        bars.sort_by(|one, other| one.1.total_cmp(&other.1));
        if workload.higher_is_better {
            bars.reverse();
        }
        let scale = scale(&bars);
        for (name, figure) in bars {
            page.bar(name, figure / scale, Side::of(name), &number(figure));
        }
    }
    page.finish()
}

/// How long the longest bar stands for. What is out of all proportion is cut, so that the others
/// can still be told apart.
fn scale(bars: &[(&str, f64)]) -> f64 {
    let mut figures: Vec<f64> = bars.iter().map(|(_, figure)| *figure).collect();
    figures.sort_by(f64::total_cmp);
    let longest = figures.last().copied().unwrap_or(1.0);
    let middle = figures.get(figures.len() / 2).copied().unwrap_or(longest);
    longest.min(middle * 3.0).max(f64::MIN_POSITIVE)
}

/// For each row how many times as good ours is as the best peer and the control, with a line at 1.
pub fn summary(lines: &[Line]) -> String {
    let mut page = Page::new("ours, in times of the best peer (more is better)");
    let longest = lines
        .iter()
        .flat_map(|line| [line.times_peer, line.times_control])
        .flatten();
    let scale = longest.fold(1.0, f64::max).min(6.0);
    page.one(scale);
    for line in lines {
        let (ours, _) = &line.ours;
        let adapter = ours
            .split_once(", ")
            .map(|(_, adapter)| format!(", {adapter}"));
        page.heading(&format!("{}{}", line.workload, adapter.unwrap_or_default()));
        if let (Some((name, _)), Some(times)) = (&line.peer, line.times_peer) {
            let side = if times >= 1.0 { Side::Ours } else { Side::Peer };
            page.bar(
                &format!("to {name}"),
                times / scale,
                side,
                &format!("{times:.2}"),
            );
        }
        if let (Some((name, _)), Some(times)) = (&line.control, line.times_control) {
            page.bar(
                &format!("to {name}"),
                times / scale,
                Side::Control,
                &format!("{times:.2}"),
            );
        }
    }
    page.finish()
}

/// A page that grows downwards.
struct Page {
    body: String,
    y: f64,
    /// Where a line goes from top to bottom.
    mark: Option<f64>,
}

impl Page {
    fn new(title: &str) -> Self {
        let mut page = Self {
            body: String::new(),
            y: 24.0,
            mark: None,
        };
        let _ = writeln!(
            page.body,
            r#"<text class="title" x="12" y="24">{}</text>"#,
            escape(title)
        );
        page
    }

    fn one(&mut self, scale: f64) {
        self.mark = Some(LABELS + room() / scale);
    }

    fn heading(&mut self, text: &str) {
        self.y += 30.0;
        let _ = writeln!(
            self.body,
            r#"<text class="heading" x="12" y="{}">{}</text>"#,
            self.y,
            escape(text)
        );
        self.y += 8.0;
    }

    /// A bar of a part of the width; one that is longer than that is cut, with a gap to say so.
    fn bar(&mut self, label: &str, part: f64, side: Side, value: &str) {
        let class = match side {
            Side::Ours => "ours",
            Side::Peer => "peer",
            Side::Control => "control",
        };
        let len = (part.min(1.0) * room()).max(1.0);
        let (y, end) = (self.y, LABELS + len);
        let text = y + BAR - 2.5;
        let _ = writeln!(
            self.body,
            r#"<text class="label {class}-label" x="{}" y="{text}">{}</text>
<rect class="{class}" x="{LABELS}" y="{y}" width="{len:.1}" height="{BAR}" rx="2"/>"#,
            LABELS - 8.0,
            escape(label)
        );
        if part > 1.0 {
            let _ = writeln!(
                self.body,
                r#"<path class="gap" d="M{} {}l5 -{BAR}"/>"#,
                end - 20.0,
                y + BAR
            );
        }
        let _ = writeln!(
            self.body,
            r#"<text x="{:.1}" y="{text}">{}</text>"#,
            end + 6.0,
            escape(value)
        );
        self.y += STEP;
    }

    fn finish(self) -> String {
        let height = self.y + 12.0;
        let mark = self.mark.map_or_else(String::new, |x| {
            format!(r#"<path class="mark" d="M{x:.1} 40V{}"/>"#, height - 12.0)
        });
        format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img">
<style>
text {{ font: 12px system-ui, sans-serif; fill: #24292f }}
.title {{ font-size: 16px; font-weight: 600 }}
.heading {{ font-weight: 600 }}
.label {{ text-anchor: end }}
.ours-label {{ font-weight: 600 }}
.ours {{ fill: #1a7f64 }}
.peer {{ fill: #8c959f }}
.control {{ fill: #d0b36a }}
text.ours-label, text.label {{ fill: #24292f }}
.gap {{ stroke: #fff; stroke-width: 3 }}
.mark {{ stroke: #24292f; stroke-dasharray: 3 3; fill: none }}
.page {{ fill: #fff }}
@media (prefers-color-scheme: dark) {{
text, text.ours-label, text.label {{ fill: #e6edf3 }}
.ours {{ fill: #3fb68b }}
.peer {{ fill: #6e7681 }}
.control {{ fill: #9a7d2e }}
.gap {{ stroke: #0d1117 }}
.mark {{ stroke: #e6edf3 }}
.page {{ fill: #0d1117 }}
}}
</style>
<rect class="page" width="{WIDTH}" height="{height}"/>
{}{mark}
</svg>
"#,
            self.body
        )
    }
}

/// How long the longest bar is.
const fn room() -> f64 {
    WIDTH - LABELS - VALUES
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
