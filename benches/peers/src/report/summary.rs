//! The rows that stand for all.

use std::fmt::Write as _;

use crate::{Side, Suite, Workload, best_peer, number};

/// One row, beside the best peer and the best control.
pub struct Line {
    pub workload: String,
    pub unit: String,
    pub ours: (String, f64),
    pub peer: Option<(String, f64)>,
    pub control: Option<(String, f64)>,
    /// How many times as good ours is as the best peer.
    pub times_peer: Option<f64>,
    pub times_control: Option<f64>,
}

/// Which rows: the table, what the workload begins with, and what our name ends with.
const PICKED: [(&str, &str, &str); 19] = [
    ("codec decode", "decode, 64 B", "borrowed"),
    ("codec decode", "decode, 64 B", "owned"),
    ("codec text", "decode, 1 KiB ASCII", "borrowed"),
    ("codec decode", "decode, 16 KiB", "borrowed"),
    ("codec decode", "decode, 1 MiB", "owned"),
    (
        "codec encode, client",
        "encode masked, 64 B",
        "Connection, borrowed",
    ),
    (
        "codec encode, server",
        "encode, 64 B",
        "Connection, borrowed",
    ),
    ("codec encode, server", "encode, 16 KiB", "WebSocket"),
    ("codec echo", "echo, 64 B", "borrowed"),
    ("codec hostile", "4 MiB of text", "owned"),
    ("codec hostile", "flood of pings", "owned"),
    ("echo", "100 connections, 1 in flight", ""),
    ("echo", "16 connections, 16 in flight, 20 B", ""),
    ("echo cpu", "16 connections, 64 in flight, 128 B", ""),
    (
        "broadcast",
        "to 1000 members, 128 B text, one at a time",
        "",
    ),
    (
        "broadcast cpu",
        "to 1000 members, 128 B text, 16 in one go",
        "",
    ),
    ("handshake", "", ""),
    ("memory", "", ""),
    ("deflate", "echo", ""),
];

/// The picked rows that there are.
pub fn lines(suites: &[Suite<'_>]) -> Vec<Line> {
    let picked = PICKED.iter().filter_map(|(suite, workload, ours)| {
        let suite = suites.iter().find(|it| it.name == *suite)?;
        let mut workloads = suite.workloads.iter();
        let workload = workloads.find(|it| it.name.starts_with(workload))?;
        line(workload, ours)
    });
    picked.collect()
}

fn line(workload: &Workload<'_>, ours: &str) -> Option<Line> {
    let owned = |(name, figure): (&str, f64)| (name.to_owned(), figure);
    let ours = workload.best(|name| Side::of(name) == Side::Ours && name.ends_with(ours))?;
    let peer = best_peer(workload, ours.0);
    // The last of the controls does the most work.
    let control = workload
        .medians
        .iter()
        .rfind(|(name, _)| Side::of(name) == Side::Control);
    let control = control.map(|(name, figure)| (*name, *figure));
    Some(Line {
        workload: workload.name.to_owned(),
        unit: workload.unit.to_owned(),
        times_peer: peer.map(|(_, theirs)| workload.times(ours.1, theirs)),
        times_control: control.map(|(_, theirs)| workload.times(ours.1, theirs)),
        ours: owned(ours),
        peer: peer.map(owned),
        control: control.map(owned),
    })
}

pub fn table(lines: &[Line]) -> String {
    let mut out = String::from(
        "| workload | unit | ours | | best peer | | ours / best | control | | ours / control |\n\
         | --- | --- | --- | ---: | --- | ---: | ---: | --- | ---: | ---: |\n",
    );
    for line in lines {
        let (ours, figure) = &line.ours;
        let _ = write!(
            out,
            "| {} | {} | {ours} | {} |",
            line.workload,
            line.unit,
            number(*figure)
        );
        for (them, times) in [
            (&line.peer, line.times_peer),
            (&line.control, line.times_control),
        ] {
            match (them, times) {
                (Some((name, figure)), Some(times)) => {
                    let _ = write!(out, " {name} | {} | {times:.2} |", number(*figure));
                }
                _ => out.push_str(" – | | |"),
            }
        }
        out.push('\n');
    }
    out
}
