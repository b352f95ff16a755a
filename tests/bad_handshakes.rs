//! Runs every row of `tests/data/handshake.md`: whole, byte by byte, and split in two.

mod common {
    pub(crate) mod answers;
    pub(crate) mod events;
    pub(crate) mod frames;
    pub(crate) mod heads;
    pub(crate) mod judge;
    pub(crate) mod output;
    pub(crate) mod table;
}

use common::heads::{DEFLATE, Outcome, Row, client, judge, rows, serve, server};
use rand::SeedableRng;
use rand::rngs::StdRng;
use wsroom::Role;

/// What a row expects of the features that are compiled in.
fn expected(row: &Row) -> String {
    let expected = row.expected.as_str();
    match expected {
        "ok pmd" if !DEFLATE => "fail extension".to_owned(),
        _ if expected.starts_with("101 permessage-deflate") => match expected.split_once(' ') {
            Some((status, answer)) if DEFLATE => {
                format!("{status} Sec-WebSocket-Extensions: {answer}")
            }
            _ => "101".to_owned(),
        },
        _ if expected.starts_with("101 no extension") => "101".to_owned(),
        "101 without the header" | "101 (or 403 when the policy requires Origin)" => {
            "101".to_owned()
        }
        "505 (or 101)" => "505".to_owned(),
        "ok, no subprotocol" => "ok".to_owned(),
        _ => {
            // What the frame layer makes of the rest, and what the connection does.
            let handshake = expected.split("; ").next().unwrap_or(expected);
            handshake
                .split(", closed")
                .next()
                .unwrap_or(handshake)
                .to_owned()
        }
    }
}

/// S1 to S21, S24, S26, S28, W1 to W3.
#[test]
fn the_server_answers_every_row_as_it_says() {
    let rows = rows('S');
    assert_eq!(rows.len(), 168, "the table was read");
    for row in rows {
        let upgrade = server(&row);
        let outcome = run(&row.input, |pieces| serve(&upgrade, pieces), &row.id);
        let want = expected(&row);
        if want == "need" {
            assert_eq!(outcome.answer, "need", "{}", row.id);
            continue;
        }
        let lines: Vec<&str> = outcome.answer.split("\r\n").collect();
        let status = &lines[0]["HTTP/1.1 ".len()..][..3];
        let (statuses, header) = match want.split_once(": ") {
            Some((before, value)) => {
                let (status, name) = before.split_once(' ').unwrap();
                (status, Some(format!("{name}: {value}")))
            }
            None => (want.as_str(), None),
        };
        assert!(
            statuses.split(" or ").any(|want| want == status),
            "{}: {status} instead of {want}",
            row.id
        );
        if let Some(header) = &header {
            assert!(lines.contains(&header.as_str()), "{}: {lines:?}", row.id);
        }
        match status {
            "101" => {
                let others: Vec<_> = (lines.iter())
                    .filter(|line| !line.starts_with("Sec-WebSocket-Accept: "))
                    .filter(|line| header.as_deref() != Some(line))
                    .collect();
                let base = [
                    "HTTP/1.1 101 Switching Protocols",
                    "Upgrade: websocket",
                    "Connection: Upgrade",
                    "",
                    "",
                ];
                assert_eq!(others, base.iter().collect::<Vec<_>>(), "{}", row.id);
                assert_eq!(outcome.rest, row.tail, "{}", row.id);
            }
            "426" => {
                for line in [
                    "Upgrade: websocket",
                    "Connection: Upgrade, close",
                    "Sec-WebSocket-Version: 13",
                ] {
                    assert!(lines.contains(&line), "{}: {lines:?}", row.id);
                }
            }
            _ => assert!(
                lines.contains(&"Connection: close"),
                "{}: {lines:?}",
                row.id
            ),
        }
    }
}

/// A1 to A12, E2 to E5 (client).
#[test]
fn the_client_judges_every_row_as_it_says() {
    let rows = rows('R');
    assert_eq!(rows.len(), 80, "the table was read");
    for row in rows {
        let (upgrade, offer) = client(&row);
        let outcome = run(
            &row.input,
            |pieces| judge(&upgrade, &offer, pieces),
            &row.id,
        );
        assert_eq!(outcome.answer, expected(&row), "{}", row.id);
        if outcome.answer.starts_with("ok") {
            assert_eq!(outcome.rest, row.tail, "{}", row.id);
        }
    }
}

/// A9, A10, S28: as the first frames, for those rows that say what they mean.
#[test]
fn what_follows_a_head_is_received_as_frames() {
    let mut random = StdRng::seed_from_u64(1);
    let mut judged = 0;
    for (letter, role) in [('S', Role::Server), ('R', Role::Client)] {
        for row in rows(letter) {
            let parts = row.expected.split_once("; ");
            let Some((_, expected)) = parts.filter(|(status, _)| ["101", "ok"].contains(status))
            else {
                continue;
            };
            let outcome = match role {
                Role::Server => serve(&server(&row), &[&row.input]),
                Role::Client => {
                    let (upgrade, offer) = client(&row);
                    judge(&upgrade, &offer, &[&row.input])
                }
            };
            let frames = common::table::Row {
                id: row.id.leak(),
                role,
                extension: "-",
                bytes: outcome.rest,
                expected: expected.to_owned().leak(),
            };
            common::judge::run(&frames, &frames.bytes, 0, &mut random, |row| {
                common::answers::connection_with(row.role, common::table::config())
            });
            judged += 1;
        }
    }
    assert!(judged >= 8, "{judged} rows were judged");
}

/// S24, row S160: 20 MB in one line (RUSTSEC-2023-0065).
#[test]
fn a_head_that_is_too_large_is_refused_before_it_is_read() {
    for (name, limit) in [("S160", 8192 + 200), ("S164", 16384), ("S025", 16384)] {
        let row = rows('S').into_iter().find(|row| row.id == name).unwrap();
        assert!(row.input.len() > limit);
        let outcome = serve(&server(&row), &[&row.input]);
        assert!(outcome.consumed <= limit, "{name}: {}", outcome.consumed);
    }
}

/// S15, row S095: white space around the key is no part of it.
#[test]
fn white_space_around_a_key_does_not_change_the_answer() {
    let row = rows('S').into_iter().find(|row| row.id == "S095").unwrap();
    let answer = serve(&server(&row), &[&row.input]).answer;
    assert!(answer.contains("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
}

/// Runs `input` whole and cut, and gives the one result of all runs.
fn run(input: &[u8], run: impl Fn(&[&[u8]]) -> Outcome, id: &str) -> Outcome {
    let outcome = run(&[input]);
    // Long enough for any head; the rest of a longer input is never looked at.
    let bytes: Vec<&[u8]> = input[..input.len().min(20_000)].chunks(1).collect();
    let mut bytewise = run(&bytes);
    bytewise.rest.extend(input.iter().skip(20_000));
    assert_eq!(outcome.answer, bytewise.answer, "{id}: byte by byte");
    assert_eq!(outcome.consumed, bytewise.consumed, "{id}: byte by byte");
    assert_eq!(
        outcome.rest.len(),
        bytewise.rest.len(),
        "{id}: byte by byte"
    );

    let cuts: Vec<usize> = if input.len() <= 1000 {
        (0..=input.len()).collect()
    } else {
        let end = input.len().min(20_000) as u64;
        (0..200)
            .map(|n| (n * 2_654_435_761 % end) as usize)
            .collect()
    };
    for cut in cuts {
        let (first, second) = input.split_at(cut);
        // A copy of 20 MB for each cut would take the test minutes.
        let second = &second[..second.len().min(20_000)];
        let split = run(&[first, second]);
        assert_eq!(outcome.answer, split.answer, "{id}: cut at {cut}");
        assert_eq!(outcome.consumed, split.consumed, "{id}: cut at {cut}");
    }
    outcome
}
