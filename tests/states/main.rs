//! The tables of states in the documentation of `wsroom::protocol`, cell by cell, and all that can
//! happen between two ends that close.

#[path = "../common"]
mod common {
    pub(crate) mod frames;
    pub(crate) mod output;
}

mod machine;
#[cfg(feature = "tokio")]
mod opening;
mod races;

/// A row: what happens, and what comes of it in each state or at each end.
struct Row {
    event: &'static str,
    cells: Vec<&'static str>,
}

/// The table under a heading whose first line begins with these cells.
fn table(heading: &[&str]) -> Vec<Row> {
    let tables = include_str!("../../src/protocol/states.md");
    let rows: Vec<_> = tables
        .lines()
        .map(|line| {
            let line = line.strip_prefix("| ").and_then(|it| it.strip_suffix('|'));
            let cells = line.unwrap_or_default().split('|');
            cells.map(str::trim).collect::<Vec<_>>()
        })
        .skip_while(|cells| cells != heading)
        .skip(2)
        .take_while(|cells| cells.len() == heading.len())
        .map(|cells| Row {
            event: cells[0],
            cells: cells[1..].to_vec(),
        })
        .collect();
    assert!(!rows.is_empty(), "there is such a table");
    rows
}
