//! What three implementations make of the same bytes. Where this crate and another differ, either
//! one of them is wrong, or the difference is known: it has a name here, and the section that decides.
//!
//! `STREAMS=1000000 cargo test --release --test differential` compares as many streams and heads.

#[path = "../common"]
mod common {
    pub(crate) mod events;
    pub(crate) mod frames;
    pub(crate) mod output;
    pub(crate) mod reference;
    pub(crate) mod streams;
}

mod bytes_of;
mod frames;
mod heads;
mod peers;

use std::collections::BTreeMap;

/// How many streams or heads are compared.
fn count(default: u64) -> u64 {
    match std::env::var("STREAMS") {
        Ok(count) => count.parse().expect("STREAMS is a number"),
        Err(_) => default,
    }
}

/// What was compared, by the name of the difference; prints it in the end.
#[derive(Default)]
struct Tally(BTreeMap<&'static str, u64>);

impl Tally {
    fn add(&mut self, name: &'static str) {
        *self.0.entry(name).or_default() += 1;
    }

    fn print(&self, what: &str) {
        for (name, count) in &self.0 {
            println!("{what}: {count:>8} {name}");
        }
    }

    fn of(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or_default()
    }
}

const SAME: &str = "same";
