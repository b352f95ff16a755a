//! The rows of `tests/data/frames.md`, and of tables in the same form.

#![allow(dead_code, reason = "no test uses all of it")]

use std::collections::HashSet;

use wsroom::{Config, Role};

const TABLES: &str = include_str!("../data/frames.md");

/// One row.
pub(crate) struct Row {
    pub(crate) id: &'static str,
    /// The side that receives the bytes.
    pub(crate) role: Role,
    /// What was agreed on.
    pub(crate) extension: &'static str,
    pub(crate) bytes: Vec<u8>,
    pub(crate) expected: &'static str,
}

/// The limits that the tables count on.
pub(crate) fn config() -> Config {
    Config::default()
        .max_frame_size(65_536)
        .max_message_size(131_072)
        .max_fragments(128)
}

/// All rows of `frames.md`, in the order of its tables.
pub(crate) fn rows() -> Vec<Row> {
    let mut rows = rows_of(TABLES);
    rows.retain(|row| row.extension == "-");
    assert!(rows.len() > 150, "the tables were read");
    rows
}

/// All rows of these tables, in their order.
pub(crate) fn rows_of(tables: &'static str) -> Vec<Row> {
    let rows: Vec<Row> = tables.lines().filter_map(parse_row).collect();
    let ids: HashSet<_> = rows.iter().map(|row| row.id).collect();
    assert_eq!(ids.len(), rows.len(), "each row has its own id");
    rows
}

fn parse_row(line: &'static str) -> Option<Row> {
    let cells: Vec<_> = line.strip_prefix("| ")?.split(" | ").collect();
    let &[id, side, extension, bytes, _, expected, ..] = &cells[..] else {
        return None;
    };
    if id == "id" {
        return None;
    }
    Some(Row {
        id,
        role: match side {
            "server" => Role::Server,
            "client" => Role::Client,
            _ => panic!("{id} has no side"),
        },
        extension,
        bytes: expand(bytes.trim_matches('`')),
        expected,
    })
}

/// Two digits are a byte, `N*xx` is N of them, `N*( ... )` a group that is repeated.
fn expand(notation: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = notation.trim_start();
    while !rest.is_empty() {
        let (item, tail) = match rest.find("*(") {
            Some(star) if !rest[..star].contains(' ') => {
                let end = rest.find(')').expect("a group ends");
                (
                    expand(&rest[star + 2..end]).repeat(number(&rest[..star])),
                    &rest[end + 1..],
                )
            }
            _ => {
                let (word, tail) = rest.split_once(' ').unwrap_or((rest, ""));
                let (times, digits) = word.split_once('*').unwrap_or(("1", word));
                assert_eq!(digits.len(), 2, "{word}");
                let byte = u8::from_str_radix(digits, 16).expect("hex digits");
                (vec![byte; number(times)], tail)
            }
        };
        bytes.extend(item);
        rest = tail.trim_start();
    }
    bytes
}

fn number(digits: &str) -> usize {
    digits.parse().expect("a number")
}
