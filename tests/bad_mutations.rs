//! Every row of the tables with random changes: frames against a model of RFC 6455 that shares no
//! code with the crate, however the bytes are cut.

mod common {
    pub(crate) mod answers;
    #[cfg(feature = "deflate")]
    pub(crate) mod deflate;
    pub(crate) mod events;
    pub(crate) mod frames;
    pub(crate) mod model;
    pub(crate) mod mutate;
    pub(crate) mod output;
    pub(crate) mod reference;
    pub(crate) mod table;
}

use common::events::receive;
use common::model::Model;
use common::mutate;
use common::output::written;
use common::table::{Row, config};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use wsroom::Connection;

/// F1 to F12, G1 to G7, T1 to T5, P1, P3, C1 to C4, C6.
#[test]
fn a_mutated_row_is_judged_as_the_model_does() {
    judge_mutations(200, 200_000);
}

/// The same, many times.
#[test]
#[ignore = "takes minutes without optimization: `tests/run` runs it with"]
fn ten_thousand_mutations_of_each_row_are_judged_as_the_model_does() {
    judge_mutations(10_000, 300_000_000);
}

/// Judges `count` mutations of each row, and fewer of those whose input and output would be more
/// than `most` bytes by then.
fn judge_mutations(count: usize, most: usize) {
    let rows = rows();
    let mut judged = 0;
    for (number, row) in rows.iter().enumerate() {
        let mut random = StdRng::seed_from_u64(number as u64);
        let model = model(row);
        let mut cost = 0;
        for mutation in 0..count {
            let other = &rows[random.random_range(0..rows.len())];
            let bytes = mutate::frames(&row.bytes, &other.bytes, &mut random);
            let verdict = model.receive(&bytes);
            let at = || format!("mutation {mutation} of {}: {bytes:02x?}", row.id);
            let mut whole = None;
            for pieces in [vec![&bytes[..]], cut(&bytes, &mut random)] {
                let mut connection = connect(row);
                let outcomes = receive(&mut connection, pieces.iter().copied());
                let wire = written(&mut connection);
                if let Err(fault) = verdict.check(&outcomes, &wire) {
                    panic!("{fault}, {} in {} pieces", at(), pieces.len());
                }
                let result = (outcomes.clone(), wire);
                assert!(
                    *whole.get_or_insert_with(|| result.clone()) == result,
                    "{}",
                    at()
                );
                let has_failed = matches!(outcomes.last(), Some(Err(_)));
                let is_open = verdict.is_open() && !has_failed;
                assert_eq!(!connection.is_closed(), is_open, "{}", at());
            }
            judged += 1;
            cost += bytes.len() + output_of(row);
            if cost > most {
                break;
            }
        }
    }
    println!("{judged} mutations of {} rows", rows.len());
}

/// In single bytes, in two or in pieces of random lengths.
fn cut<'a>(mut bytes: &'a [u8], random: &mut StdRng) -> Vec<&'a [u8]> {
    let most = [1, bytes.len() / 2, bytes.len(), 40][random.random_range(0..4)].max(1);
    let mut pieces = Vec::new();
    while !bytes.is_empty() {
        let len = random.random_range(1..=most.min(bytes.len()));
        let (piece, rest) = bytes.split_at(len);
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}

/// The rows of both tables. Floods are shortened: what they show is not in their length.
fn rows() -> Vec<Row> {
    let mut rows = common::table::rows();
    #[cfg(feature = "deflate")]
    rows.extend(common::table::rows_of(include_str!("data/deflate.md")));
    for row in &mut rows {
        if row.expected.starts_with("bounded") {
            row.bytes.truncate(600);
        }
    }
    rows
}

fn model(row: &Row) -> Model {
    Model {
        role: row.role,
        takes_over: takes_over(row),
        has_closed: false,
    }
}

fn takes_over(row: &Row) -> Option<bool> {
    match row.extension {
        "-" => None,
        "pmd" => Some(true),
        "pmd-nct" => Some(false),
        extension => panic!("{}: {extension}", row.id),
    }
}

fn connect(row: &Row) -> Connection {
    match takes_over(row) {
        None => common::answers::connection_with(row.role, config()),
        #[cfg(feature = "deflate")]
        Some(takes_over) => {
            let params = common::deflate::params(15, takes_over);
            common::deflate::connection(row.role, params, config())
        }
        #[cfg(not(feature = "deflate"))]
        Some(_) => unreachable!("{}", row.id),
    }
}

/// About how many bytes a row inflates to, or nothing.
fn output_of(row: &Row) -> usize {
    let times = |text: &str| {
        text.split_once('*')
            .and_then(|(times, _)| times.parse().ok())
    };
    match row.expected.split_once("*(bin ") {
        Some((frames, message)) => {
            frames.parse::<usize>().unwrap_or(1) * times(message).unwrap_or(1)
        }
        None => 131_072 * usize::from(row.expected == "fail 1009" && row.extension != "-"),
    }
}
