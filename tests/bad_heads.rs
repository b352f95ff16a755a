//! Every row of `tests/data/handshake.md` with random changes: both sides against a strict reading
//! that shares no code with the crate, however the bytes are cut.

mod common {
    pub(crate) mod heads;
    pub(crate) mod mutate;
    pub(crate) mod strict;
}

use common::heads::{Outcome, Row, client, judge, rows, serve, server};
use common::mutate;
use common::strict::{self, Reading};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// S1 to S21, S24, S26, S28, W1, W3, W4: a 101 only where a strict reading has one, and else one
/// refusal.
#[test]
fn a_mutated_request_is_accepted_only_if_it_is_one() {
    serve_mutations(150, 1_000_000);
}

/// A3 to A10: open only where a strict reading is.
#[test]
fn a_mutated_response_opens_only_if_it_is_a_101_that_answers() {
    judge_mutations(150, 1_000_000);
}

/// The same, many times.
#[test]
#[ignore = "takes minutes without optimization: `tests/run` runs it with"]
fn ten_thousand_mutations_of_each_head_are_judged_by_a_strict_reading() {
    serve_mutations(10_000, 100_000_000);
    judge_mutations(10_000, 100_000_000);
}

fn serve_mutations(count: usize, most: usize) {
    let mut opened = 0;
    mutate_rows('S', count, most, |row, bytes, random| {
        let upgrade = server(row);
        let origins = (row.profile == "origin").then_some(&["https://good.example"][..]);
        let reading = strict::request(bytes, &["chat", "superchat"], origins);
        let outcome = cut_alike(bytes, random, |pieces| serve(&upgrade, pieces));
        let is_101 = outcome.answer.starts_with("HTTP/1.1 101 ");
        match reading {
            Reading::Opens { len, protocol } => {
                assert!(is_101, "{}", outcome.answer);
                assert_eq!(outcome.consumed, len);
                assert_eq!(field(&outcome.answer, "Sec-WebSocket-Protocol"), protocol);
                opened += 1;
            }
            Reading::Refused => assert!(!is_101 && outcome.answer != "need", "{outcome:?}"),
            Reading::Incomplete => assert!(!is_101, "{outcome:?}"),
            Reading::Either => {}
        }
        if outcome.answer != "need" {
            assert_is_one_answer(&outcome.answer);
        }
    });
    println!("{opened} mutated requests were accepted");
    assert!(opened > count);
}

fn judge_mutations(count: usize, most: usize) {
    let mut opened = 0;
    mutate_rows('R', count, most, |row, bytes, random| {
        let (upgrade, offer) = client(row);
        let offered = match row.profile.as_str() {
            "noproto" => &[][..],
            _ => &["chat", "superchat"],
        };
        let reading = strict::response(bytes, offered);
        let outcome = cut_alike(bytes, random, |pieces| judge(&upgrade, &offer, pieces));
        let is_open = outcome.answer.starts_with("ok");
        match reading {
            Reading::Opens { len, .. } => {
                // A window that was offered has to be answered.
                let must_agree = row.profile == "ext-smwb10";
                assert!(is_open || must_agree, "{}", outcome.answer);
                assert_eq!(outcome.consumed, len);
                opened += 1;
            }
            Reading::Refused => assert!(!is_open && outcome.answer != "need"),
            Reading::Incomplete => assert!(!is_open),
            Reading::Either => {}
        }
    });
    println!("{opened} mutated responses opened");
    assert!(opened > count);
}

/// Runs `count` mutations of each row, and fewer of those that are more than `most` bytes by then.
fn mutate_rows(
    letter: char,
    count: usize,
    most: usize,
    mut run: impl FnMut(&Row, &[u8], &mut StdRng),
) {
    let mut rows = rows(letter);
    for row in &mut rows {
        // Longer than any head may be.
        row.input.truncate(20_000);
    }
    for (number, row) in rows.iter().enumerate() {
        let mut random = StdRng::seed_from_u64(number as u64);
        let mut cost = 0;
        for mutation in 0..count {
            let other = &rows[random.random_range(0..rows.len())];
            let bytes = mutate::head(&row.input, &other.input, &mut random);
            let _told = Told {
                id: &row.id,
                mutation,
                bytes: &bytes,
            };
            run(row, &bytes, &mut random);
            cost += bytes.len();
            if cost > most {
                break;
            }
        }
    }
}

/// Says which mutation it was if a test fails.
struct Told<'a> {
    id: &'a str,
    mutation: usize,
    bytes: &'a [u8],
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let text = self.bytes.escape_ascii();
            eprintln!("mutation {} of {}: {text}", self.mutation, self.id);
        }
    }
}

/// The one result of `bytes` whole and cut.
fn cut_alike(bytes: &[u8], random: &mut StdRng, run: impl Fn(&[&[u8]]) -> Outcome) -> Outcome {
    let outcome = run(&[bytes]);
    let size = [1, 7, bytes.len() / 2][random.random_range(0..3)].max(1);
    let pieces: Vec<_> = bytes.chunks(size).collect();
    assert_eq!(run(&pieces), outcome, "in pieces of {size}");
    outcome
}

fn field(answer: &str, name: &str) -> Option<String> {
    let named = answer
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    named.map(str::to_owned)
}

/// One response of HTTP/1.1, with nothing in it that the request could have brought.
fn assert_is_one_answer(answer: &str) {
    let answer = answer
        .strip_prefix("HTTP/1.1 100 Continue\r\n\r\n")
        .unwrap_or(answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let (start, fields) = head.split_once("\r\n").unwrap();
    let status = &start[.."HTTP/1.1 101 ".len()];
    let mut names = Vec::new();
    for line in fields.split("\r\n") {
        let (name, value) = line.split_once(": ").unwrap();
        let is_ours = match name {
            "Upgrade" => value == "websocket",
            "Connection" => ["Upgrade", "close", "Upgrade, close"].contains(&value),
            "Sec-WebSocket-Version" => value == "13",
            "Sec-WebSocket-Accept" => value.len() == 28 && value.ends_with('='),
            "Sec-WebSocket-Protocol" => ["chat", "superchat"].contains(&value),
            "Sec-WebSocket-Extensions" => value.starts_with("permessage-deflate"),
            "Allow" => value == "GET",
            "Content-Type" => value == "text/plain; charset=utf-8",
            "Content-Length" => value == body.len().to_string(),
            _ => false,
        };
        assert!(is_ours && !names.contains(&name), "{line}");
        names.push(name);
    }
    let has = |name| names.contains(&name);
    match status {
        "HTTP/1.1 101 " => {
            assert!(has("Upgrade") && has("Connection") && has("Sec-WebSocket-Accept"));
            assert!(!has("Content-Length") && body.is_empty());
        }
        "HTTP/1.1 400 " | "HTTP/1.1 403 " | "HTTP/1.1 405 " | "HTTP/1.1 414 " | "HTTP/1.1 426 "
        | "HTTP/1.1 431 " | "HTTP/1.1 505 " => {
            assert!(has("Content-Length") && has("Connection"));
            assert_eq!(has("Upgrade"), status.contains("426"));
            assert_eq!(has("Allow"), status.contains("405"));
        }
        status => panic!("{status}"),
    }
}
