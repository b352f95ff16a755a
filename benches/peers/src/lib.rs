//! What the programs of this package share: the rows that they print, and the names in them.

pub mod sockets;

use serde::{Deserialize, Serialize};

/// One figure of one contestant in one workload, as one line of JSON on standard output.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// The table it stands in, such as `codec decode`, `echo`, `broadcast`, `memory`, `handshake`,
    /// `deflate`.
    pub suite: String,
    /// The row of the table, with its parameters, such as `decode, 64 B text`.
    pub workload: String,
    /// The crate or program with its version, and after a comma the adapter if there are several:
    /// `sockudo-ws 3.1.0, batched`. What begins with `raw` is a control and no peer.
    pub contestant: String,
    /// What the samples count, such as `ns/message`, `messages/s`, `bytes/connection`.
    pub unit: String,
    /// Whether more is better.
    pub higher_is_better: bool,
    /// One figure a repetition, in the order in which they were taken.
    pub samples: Vec<f64>,
}

impl Row {
    /// Prints the row as a line.
    pub fn print(&self) {
        println!(
            "{}",
            serde_json::to_string(self).expect("a row is plain data")
        );
    }

    /// The median of the samples.
    pub fn median(&self) -> f64 {
        let mut sorted = self.samples.clone();
        sorted.sort_by(f64::total_cmp);
        match sorted.len() {
            0 => f64::NAN,
            n if n % 2 == 1 => sorted[n / 2],
            n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
        }
    }
}

/// The name of a crate with the version that is locked here: `tungstenite 0.30.0`.
///
/// # Panics
///
/// Panics if this package does not depend on it.
pub fn contestant(krate: &str) -> String {
    let (_, version) = dependencies()
        .into_iter()
        .find(|(name, _)| name == krate)
        .unwrap_or_else(|| panic!("{krate} is no dependency"));
    format!("{krate} {version}")
}

/// The crates that this package depends on itself, with the versions that are locked.
pub fn dependencies() -> Vec<(String, String)> {
    const LOCK: &str = include_str!("../Cargo.lock");
    let packages: Vec<(&str, &str)> = LOCK
        .split("[[package]]")
        .filter_map(|package| Some((value(package, "name")?, value(package, "version")?)))
        .collect();
    let this = LOCK
        .split("[[package]]")
        .find(|package| value(package, "name") == Some(env!("CARGO_PKG_NAME")))
        .expect("a lock file has its own package");
    this.lines()
        .filter_map(|line| line.strip_prefix(" \"")?.strip_suffix("\","))
        .map(|dependency| match dependency.split_once(' ') {
            // Two versions are locked: the one that is used is named.
            Some((name, version)) => (name.into(), version.into()),
            None => {
                let found = packages.iter().find(|(name, _)| *name == dependency);
                let (name, version) = found.expect("what is used is locked");
                ((*name).into(), (*version).into())
            }
        })
        .collect()
}

/// The value of `key = "value"` in an entry of a lock file.
fn value<'a>(package: &'a str, key: &str) -> Option<&'a str> {
    package.lines().find_map(|line| {
        line.strip_prefix(key)?
            .strip_prefix(" = \"")?
            .strip_suffix('"')
    })
}
