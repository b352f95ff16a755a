//! §10.4, §10.7: what bad input costs, in memory and in work. Memory and copies are counted by an
//! allocator; where there is no counter, an input is compared with a shorter one.

mod common {
    pub(crate) mod answers;
    pub(crate) mod counting;
    #[cfg(feature = "deflate")]
    pub(crate) mod deflate;
    pub(crate) mod frames;
    pub(crate) mod heads;
    pub(crate) mod mutate;
    pub(crate) mod table;
}

use std::time::{Duration, Instant};

use common::counting::{asked, measured};
use common::heads::{Row, client, rows, serve, server};
use common::mutate;
use common::table;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use wsroom::Connection;
use wsroom::handshake::{HandshakeError, RequestHead, ResponseHead, Upgrade, protocol_offers};
use wsroom::protocol::release_kept;

const KIB: usize = 1 << 10;

/// F8, E13: every row of frames, and mutations of it, in pieces and as single bytes: four times
/// what came, and what it was inflated to.
#[test]
fn frames_hold_no_more_than_four_times_their_length() {
    let rows = frame_rows();
    for (number, row) in rows.iter().enumerate() {
        let mut random = StdRng::seed_from_u64(number as u64);
        let inflated = match row.extension {
            "-" => 0,
            // Four times the limit of a message, as a buffer grows; the window and the inflater.
            _ => 4 * 128 * KIB + 160 * KIB,
        };
        for mutation in 0..20 {
            let mut bytes = row.bytes.clone();
            if mutation > 0 {
                let other = &rows[random.random_range(0..rows.len())];
                bytes = mutate::frames(&bytes, &other.bytes, &mut random);
            }
            let step = [bytes.len(), 1000, 1][mutation % 3].max(1);
            let mut connection = connect(row);
            release_kept();
            let ((), peak, _) = measured(|| {
                for mut piece in bytes.chunks_mut(step) {
                    // A fault is the end of many.
                    while let Ok(Some(_)) = connection.receive(&mut piece) {}
                }
            });
            let bound = 4 * bytes.len() + 64 * KIB + inflated;
            let at = format!("mutation {mutation} of {} in pieces of {step}", row.id);
            assert!(peak <= bound, "{at}: {peak} bytes for {}", bytes.len());
        }
    }
}

/// F8: a length by itself allocates nothing, in any form, with any opcode, compressed or not.
#[test]
fn an_announced_length_allocates_nothing_at_all() {
    for row in frame_rows() {
        let mut connection = connect(&row);
        let Some(mut header) = header_of(&row.bytes) else {
            continue;
        };
        let ((), peak, _) = measured(|| {
            let mut input = &mut header[..];
            while let Ok(Some(_)) = connection.receive(&mut input) {}
        });
        // The Close, if there is one.
        let bound = if connection.is_closed() { KIB } else { 0 };
        assert!(peak <= bound, "{}: {peak} bytes", row.id);
    }
}

/// A12, S24, row S160: every row of heads, and mutations of it, in one piece and as single bytes.
#[test]
fn heads_hold_no_more_than_four_times_their_length() {
    for letter in ['S', 'R'] {
        let rows = rows(letter);
        for (number, row) in rows.iter().enumerate() {
            let mut random = StdRng::seed_from_u64(number as u64);
            for mutation in 0..10 {
                let other = &rows[random.random_range(0..rows.len())];
                let mut bytes = row.input.clone();
                if mutation > 0 {
                    bytes.truncate(20_000);
                    bytes = mutate::head(&bytes, &other.input, &mut random);
                }
                let read = bytes.len().min(16 * KIB);
                for step in [bytes.len().max(1), 1] {
                    let (_, peak, live) = measured(|| receive(row, &bytes, step).1);
                    let at = format!("mutation {mutation} of {} in pieces of {step}", row.id);
                    assert!(peak <= 4 * read + 64 * KIB, "{at}: {peak} bytes");
                    assert!(live <= 4 * KIB, "{at}: {live} bytes are kept");
                }
            }
        }
    }
}

/// S25: in one piece or in single bytes, a head has nothing copied or taken apart again and again,
/// and no byte more than the limit is read.
#[test]
fn a_head_is_taken_apart_once_however_it_comes() {
    for letter in ['S', 'R'] {
        for row in rows(letter) {
            let (read, whole) = asked(|| receive(&row, &row.input, usize::MAX).0);
            let (again, single) = asked(|| receive(&row, &row.input, 1).0);
            assert_eq!(read, again, "{}", row.id);
            let interim = if row.id == "R023" { 11 } else { 1 };
            assert!(read <= interim * 16 * KIB, "{}: {read} bytes", row.id);
            // A map of as many fields as there may be, most of them one byte, takes the most.
            for asked in [whole, single] {
                let bound = 32 * read + 4 * KIB;
                assert!(asked <= bound, "{}: {asked} for {read} bytes", row.id);
            }
        }
    }
}

/// S18, S20, S24, S25: what costs a careless reader more than its length, at the limit of a line
/// and at an eighth of it.
#[test]
fn a_header_costs_time_in_its_length() {
    let request = |line: String| common_request(&line);
    type Shape = (&'static str, fn(usize) -> String);
    let shapes: [Shape; 12] = [
        ("escapes", |n| {
            extension(&format!("a; b=\"{}", "\\c".repeat(n / 2)))
        }),
        ("escapes that end", |n| {
            extension(&format!("a; b=\"{}\"", "\\c".repeat(n / 2)))
        }),
        ("parameters", |n| {
            extension(&format!("a{}", ";b=c".repeat(n / 4)))
        }),
        ("parameters of one name", |n| {
            let name = "; server_max_window_bits=10";
            extension(&format!(
                "permessage-deflate{}",
                name.repeat(n / name.len())
            ))
        }),
        ("spaces", |n| extension(&format!("a{};", " ".repeat(n)))),
        ("semicolons", |n| {
            extension(&format!("a{}", " ;".repeat(n / 2)))
        }),
        ("empty elements", |n| extension(&",".repeat(n))),
        ("spaces in a protocol", |n| {
            format!("Sec-WebSocket-Protocol: b{}x", " ".repeat(n))
        }),
        ("protocols", |n| {
            let names: Vec<_> = (0..n / 5).map(|i| format!("{i:04}")).collect();
            format!("Sec-WebSocket-Protocol: {}", names.join(","))
        }),
        ("tokens", |n| format!("Connection: {}", "a,".repeat(n / 2))),
        ("spaces around a value", |n| {
            format!("X: {}a", " \t".repeat(n / 2))
        }),
        ("a host", |n| format!("Y: {}", "a.".repeat(n / 2))),
    ];
    let upgrade = Upgrade::default().protocols(["chat"]);
    for (name, line) in shapes {
        let [short, long] = [1000, 8000].map(|len| {
            let request = request(line(len));
            fastest(|| {
                let outcome = serve(&upgrade, &[request.as_bytes()]);
                assert_ne!(outcome.answer, "need");
            })
        });
        // Eight times as long; it would be 64 times the work if each byte looked at all others.
        assert!(
            long < 32 * short + Duration::from_micros(50),
            "{name}: {short:?}, {long:?}"
        );
    }
    // As many lines as there may be, and all with the name of a list.
    let [short, long] = [10, 90].map(|lines| {
        let request = request(vec!["Sec-WebSocket-Protocol: ,,,,a"; lines].join("\r\n"));
        fastest(|| drop(serve(&upgrade, &[request.as_bytes()])))
    });
    assert!(long < 40 * short, "{short:?}, {long:?}");
    assert!(protocol_offers(&Default::default()).unwrap().is_empty());
}

/// The least of several times, since others use the machine too.
fn fastest(mut run: impl FnMut()) -> Duration {
    let times = [(); 9].map(|()| {
        let begin = Instant::now();
        run();
        begin.elapsed()
    });
    times.into_iter().min().unwrap()
}

fn extension(value: &str) -> String {
    format!("Sec-WebSocket-Extensions: {value}")
}

fn common_request(line: &str) -> String {
    format!(
        "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{line}\r\n\r\n"
    )
}

/// Has the side that a row is for read `bytes` and judge the head; how many bytes it took, and
/// whether the head was good.
fn receive(row: &Row, bytes: &[u8], step: usize) -> (usize, bool) {
    if row.id.starts_with('S') {
        let upgrade = server(row);
        let mut head = RequestHead::new(&upgrade);
        read(bytes, step, |input| {
            let request = head.receive(input)?;
            Ok(request.map(|request| upgrade.accept(&request).is_ok()))
        })
    } else {
        let (upgrade, offer) = client(row);
        let mut head = ResponseHead::new(&upgrade);
        read(bytes, step, |input| {
            let response = head.receive(input)?;
            Ok(response.map(|response| offer.verify(&response).is_ok()))
        })
    }
}

fn read(
    bytes: &[u8],
    step: usize,
    mut receive: impl FnMut(&mut &[u8]) -> Result<Option<bool>, HandshakeError>,
) -> (usize, bool) {
    let mut read = 0;
    for mut piece in bytes.chunks(step.min(bytes.len().max(1))) {
        let len = piece.len();
        let judged = receive(&mut piece).transpose();
        read += len - piece.len();
        if let Some(judged) = judged {
            return (read, judged.unwrap_or(false));
        }
    }
    (read, false)
}

fn frame_rows() -> Vec<table::Row> {
    let mut rows = table::rows();
    // These are bounded whatever their length, which is tested elsewhere.
    rows.retain(|row| !row.expected.starts_with("bounded"));
    #[cfg(feature = "deflate")]
    rows.extend(table::rows_of(include_str!("data/deflate.md")));
    rows
}

/// The header of the first frame, if that has a payload.
fn header_of(bytes: &[u8]) -> Option<Vec<u8>> {
    let second = bytes.get(1)?;
    let long = match second & 0x7f {
        0 => return None,
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let key = if second & 0x80 != 0 { 4 } else { 0 };
    bytes.get(..2 + long + key).map(<[u8]>::to_vec)
}

fn connect(row: &table::Row) -> Connection {
    match row.extension {
        "-" => common::answers::connection_with(row.role, table::config()),
        #[cfg(feature = "deflate")]
        extension => {
            let params = common::deflate::params(15, extension == "pmd");
            common::deflate::connection(row.role, params, table::config())
        }
        #[cfg(not(feature = "deflate"))]
        extension => unreachable!("{}: {extension}", row.id),
    }
}
