//! What the programs of this package share: the rows that they print.

pub mod sockets;

use serde::{Deserialize, Serialize};

/// One figure of one contestant in one workload, as one line of JSON on standard output.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// The table it stands in: `codec`, `echo`, `broadcast`, `memory`, `handshake`, `deflate`.
    pub suite: String,
    /// The row of the table, with its parameters, such as `decode, 64 B text`.
    pub workload: String,
    /// The crate or program with its version, and after a comma the adapter if there are several:
    /// `sockudo-ws 3.1.0, batched`.
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
