//! Makes tables and plots of rows: `report FOLDER ROWS...` reads files of JSON lines and writes
//! `results.md`, `results.json` and a plot for each table into the folder.

#[path = "../report/plot.rs"]
mod plot;
#[path = "../report/summary.rs"]
mod summary;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::{env, fs};

use serde_json::json;
use wsroom_peers::Row;

fn main() {
    let mut arguments = env::args().skip(1);
    let Some(folder) = arguments.next() else {
        eprintln!("usage: report FOLDER ROWS...");
        std::process::exit(2)
    };
    let folder = Path::new(&folder);
    let rows: Vec<Row> = arguments
        .flat_map(|file| read(&file))
        .filter(|row| !row.median().is_nan())
        .collect();
    let suites = suites(&rows);
    let machine = machine();
    fs::create_dir_all(folder).expect("the folder can be made");
    let save = |name: &str, content: &str| {
        fs::write(folder.join(name), content).expect("the folder can be written to");
    };
    let summary = summary::lines(&suites);
    save("results.md", &markdown(&suites, &summary, &machine));
    save("results.json", &json(&rows, &machine));
    save("summary.svg", &plot::summary(&summary));
    for suite in suites.iter().filter(|suite| suite.is_plotted()) {
        save(&format!("{}.svg", suite.file()), &plot::suite(suite));
    }
}

fn read(file: &str) -> Vec<Row> {
    let content = fs::read_to_string(file).unwrap_or_else(|error| panic!("{file}: {error}"));
    let rows = content.lines().filter(|line| line.starts_with('{'));
    rows.map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{file}: {error}")))
        .collect()
}

/// All there is, a line a row.
fn json(rows: &[Row], machine: &serde_json::Value) -> String {
    let rows = rows
        .iter()
        .map(|row| serde_json::to_string(row).expect("a row is plain data"));
    let rows: Vec<_> = rows.collect();
    format!(
        "{{\"machine\":{machine},\"rows\":[\n{}\n]}}\n",
        rows.join(",\n")
    )
}

/// A table: what is measured, and of whom.
pub struct Suite<'a> {
    name: &'a str,
    workloads: Vec<Workload<'a>>,
    /// Ours first, then the peers in the order in which they came, then the controls.
    contestants: Vec<&'a str>,
}

/// A row of a table.
pub struct Workload<'a> {
    name: &'a str,
    unit: &'a str,
    higher_is_better: bool,
    /// The median of each contestant.
    medians: BTreeMap<&'a str, f64>,
}

/// Whose figure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    Ours,
    Peer,
    Control,
}

impl Side {
    pub fn of(contestant: &str) -> Self {
        if contestant.starts_with("wsroom ") || contestant == "wsroom" {
            Self::Ours
        } else if contestant.starts_with("raw") {
            Self::Control
        } else {
            Self::Peer
        }
    }
}

/// Rows of one table stand together, in the order in which they came first.
fn suites(rows: &[Row]) -> Vec<Suite<'_>> {
    let mut suites: Vec<Suite<'_>> = Vec::new();
    for row in rows {
        let at = suites.iter().position(|suite| suite.name == row.suite);
        let at = at.unwrap_or_else(|| {
            suites.push(Suite {
                name: &row.suite,
                workloads: Vec::new(),
                contestants: Vec::new(),
            });
            suites.len() - 1
        });
        let suite = &mut suites[at];
        if !suite.contestants.contains(&&*row.contestant) {
            suite.contestants.push(&row.contestant);
        }
        let is_same = |it: &Workload<'_>| it.name == row.workload && it.unit == row.unit;
        let at = suite.workloads.iter().position(is_same).unwrap_or_else(|| {
            suite.workloads.push(Workload {
                name: &row.workload,
                unit: &row.unit,
                higher_is_better: row.higher_is_better,
                medians: BTreeMap::new(),
            });
            suite.workloads.len() - 1
        });
        suite.workloads[at]
            .medians
            .insert(&row.contestant, row.median());
    }
    for suite in &mut suites {
        suite
            .contestants
            .sort_by_key(|contestant| Side::of(contestant));
    }
    suites
}

impl Suite<'_> {
    /// The name of its plot.
    fn file(&self) -> String {
        let words = self
            .name
            .split(|character: char| !character.is_ascii_alphanumeric());
        words
            .filter(|word| !word.is_empty())
            .collect::<Vec<_>>()
            .join("-")
    }

    /// Counts are for looking up: they have no plot, and are folded away.
    fn is_plotted(&self) -> bool {
        !self.name.ends_with("counts")
    }

    fn of(&self, side: Side) -> impl Iterator<Item = &str> {
        self.contestants
            .iter()
            .copied()
            .filter(move |name| Side::of(name) == side)
    }
}

impl Workload<'_> {
    /// The best of those whom `among` takes, and its figure.
    pub fn best(&self, among: impl Fn(&str) -> bool) -> Option<(&str, f64)> {
        let figures = self.medians.iter().filter(|(name, _)| among(name));
        figures
            .map(|(name, figure)| (*name, *figure))
            .reduce(|best, next| {
                if self.is_better(next.1, best.1) {
                    next
                } else {
                    best
                }
            })
    }

    /// How many times as good `ours` is as `theirs`: twice the throughput, or half the time, is 2.
    pub fn times(&self, ours: f64, theirs: f64) -> f64 {
        if self.higher_is_better {
            ours / theirs
        } else {
            theirs / ours
        }
    }

    fn is_better(&self, one: f64, other: f64) -> bool {
        if self.higher_is_better {
            one > other
        } else {
            one < other
        }
    }
}

/// The best peer to compare one of ours with: who hands out messages of its own is not compared
/// with who lends them.
pub fn best_peer<'a>(workload: &'a Workload<'_>, ours: &str) -> Option<(&'a str, f64)> {
    let owns = ours.ends_with(", owned") && workload.name.starts_with("decode");
    workload.best(|name| Side::of(name) == Side::Peer && !(owns && name.ends_with(", borrowed")))
}

fn markdown(
    suites: &[Suite<'_>],
    summary: &[summary::Line],
    machine: &serde_json::Value,
) -> String {
    let mut out = String::from(
        "# Results\n\nMedians. `ours / best` says how many times as good ours is as the best peer: \
         more than 1 is ahead, less is behind. **Bold** is the best of a row, controls (`raw`) \
         apart.\n\n",
    );
    for (key, value) in machine.as_object().expect("it was made as one") {
        if let Some(value) = value.as_str() {
            let _ = writeln!(out, "- {key}: {value}");
        }
    }
    out.push_str("\n## Summary\n\n![Ours beside the best peer](summary.svg)\n\n");
    out.push_str(&summary::table(summary));
    for suite in suites {
        let _ = write!(out, "\n## {}\n\n", suite.name);
        if suite.is_plotted() {
            let _ = write!(
                out,
                "![{}]({}.svg)\n\n{}",
                suite.name,
                suite.file(),
                table(suite)
            );
        } else {
            let folded = table(suite);
            let _ = write!(
                out,
                "<details><summary>Table</summary>\n\n{folded}\n</details>\n"
            );
        }
    }
    out
}

/// The longer side of a table goes downwards.
fn table(suite: &Suite<'_>) -> String {
    if suite.workloads.len() > suite.contestants.len() {
        by_workload(suite)
    } else {
        by_contestant(suite)
    }
}

/// A line a contestant.
fn by_contestant(suite: &Suite<'_>) -> String {
    let mut out = String::new();
    let heads = suite
        .workloads
        .iter()
        .map(|it| format!("{} ({})", it.name, it.unit));
    line(&mut out, "", heads);
    line(
        &mut out,
        "---",
        suite.workloads.iter().map(|_| "---:".into()),
    );
    for contestant in &suite.contestants {
        line(
            &mut out,
            contestant,
            suite.workloads.iter().map(|it| cell(it, contestant)),
        );
    }
    for ours in suite.of(Side::Ours) {
        let head = format!("*{} / best*", adapter(ours));
        line(
            &mut out,
            &head,
            suite.workloads.iter().map(|it| ratio(it, ours)),
        );
    }
    out
}

/// A line a workload.
fn by_workload(suite: &Suite<'_>) -> String {
    let mut out = String::new();
    let ours: Vec<_> = suite.of(Side::Ours).collect();
    let heads = suite.contestants.iter().map(|it| (*it).to_owned());
    line(
        &mut out,
        "",
        heads.chain(ours.iter().map(|it| format!("*{} / best*", adapter(it)))),
    );
    line(
        &mut out,
        "---",
        suite.contestants.iter().chain(&ours).map(|_| "---:".into()),
    );
    for workload in &suite.workloads {
        let head = format!("{} ({})", workload.name, workload.unit);
        let cells = suite.contestants.iter().map(|it| cell(workload, it));
        line(
            &mut out,
            &head,
            cells.chain(ours.iter().map(|it| ratio(workload, it))),
        );
    }
    out
}

fn line(out: &mut String, head: &str, cells: impl Iterator<Item = String>) {
    let _ = write!(out, "| {head} |");
    for cell in cells {
        let _ = write!(out, " {cell} |");
    }
    out.push('\n');
}

fn cell(workload: &Workload<'_>, contestant: &str) -> String {
    let Some(&figure) = workload.medians.get(contestant) else {
        return "–".into();
    };
    let best = workload.best(|name| Side::of(name) != Side::Control);
    match best {
        Some((name, _)) if name == contestant => format!("**{}**", number(figure)),
        _ => number(figure),
    }
}

fn ratio(workload: &Workload<'_>, ours: &str) -> String {
    match (workload.medians.get(ours), best_peer(workload, ours)) {
        (Some(&figure), Some((_, theirs))) => format!("{:.2}", workload.times(figure, theirs)),
        _ => "–".into(),
    }
}

/// What stands behind the comma of a name, or `ours`.
fn adapter(contestant: &str) -> &str {
    contestant
        .split_once(", ")
        .map_or("ours", |(_, adapter)| adapter)
}

/// With about three digits, and thousands apart.
pub fn number(figure: f64) -> String {
    match figure.abs() {
        0.0 => "0".into(),
        0.0..0.01 => format!("{figure:.4}"),
        0.01..10.0 => format!("{figure:.2}"),
        10.0..100.0 => format!("{figure:.1}"),
        _ => {
            let digits = format!("{figure:.0}");
            let mut out = String::new();
            for (i, digit) in digits.chars().enumerate() {
                if i > 0 && (digits.len() - i).is_multiple_of(3) {
                    out.push(',');
                }
                out.push(digit);
            }
            out
        }
    }
}

/// What the figures depend on.
fn machine() -> serde_json::Value {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let versions: serde_json::Map<_, _> = wsroom_peers::dependencies()
        .into_iter()
        .map(|(name, version)| (name, version.into()))
        .collect();
    json!({
        "processor": format!("{}, {cores} cores", model.map_or("unknown", |(_, model)| model)),
        "kernel": output("uname", &["-sr"]),
        "compiler": output("rustc", &["--version"]),
        "date": output("date", &["-u", "+%Y-%m-%d %H:%M UTC"]),
        "commit": output("git", &["describe", "--always", "--dirty", "--exclude=*"]),
        "versions": versions,
    })
}

fn output(program: &str, arguments: &[&str]) -> String {
    let run = Command::new(program).args(arguments).output();
    run.map_or_else(
        |_| "unknown".into(),
        |it| String::from_utf8_lossy(&it.stdout).trim().into(),
    )
}
