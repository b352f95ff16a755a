//! Bytes of any kind: nothing panics, and each connection ends with a status or with one Close.

use wsroom::{CloseCode, Config, Error, Role, Upgrade};

use super::pipe::Chance;
use super::{ROOMY, frames, masked_piece, pipe, socket};

const SEEDS: u64 = 400;

/// C11 (server), §7.1.7: the codes that a peer can bring about by what it sends.
#[tokio::test(start_paused = true)]
async fn garbage_in_an_open_connection_is_answered_with_one_close() {
    let mut codes = std::collections::BTreeMap::<u16, usize>::new();
    for seed in 0..SEEDS {
        let mut chance = Chance::new(seed);
        let (near, _far) = pipe(ROOMY);
        let (reads, writes) = (near.incoming(), near.outgoing());
        reads.put(&almost_frames(&mut chance));
        reads.end();
        let config = Config::default().max_message_size(2_000).max_fragments(20);
        let mut socket = socket(near.chopped(seed), Role::Server, config);
        let ended = loop {
            match socket.recv().await {
                Ok(Some(_)) => {}
                ended => break ended,
            }
        };
        assert_eq!(socket.recv().await.unwrap(), None, "once");
        let code = match &ended {
            Ok(_) => CloseCode::NORMAL,
            Err(Error::Protocol(fault)) => fault.close_code(),
            Err(Error::ConnectionLost) => CloseCode::ABNORMAL,
            Err(other) => panic!("{other:?}"),
        };
        *codes.entry(code.get()).or_default() += 1;
        if code == CloseCode::ABNORMAL {
            // Nothing is said to a peer that is gone, not even the rest of a Pong.
            continue;
        }
        let wire = frames(&writes.take());
        let closes = wire.iter().filter(|frame| frame.0 == 0x88);
        assert_eq!(closes.count(), 1, "seed {seed}: {ended:?}");
        let (0x88, body) = wire.last().unwrap() else {
            panic!("the Close is the last frame")
        };
        if ended.is_err() {
            assert_eq!(body[..2], code.get().to_be_bytes());
        }
    }
    for code in [1002, 1007, 1008, 1009] {
        assert!(codes.contains_key(&code), "{codes:?}");
    }
}

/// Frames that are right most of the time.
fn almost_frames(chance: &mut Chance) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..1 + chance.below(30) {
        let mut payload: Vec<u8> = (0..chance.below(60)).map(|i| b'a' + i as u8 % 26).collect();
        let first = match chance.below(40) {
            0 => chance.below(256) as u8,
            1 => {
                payload = vec![b'x'; 3_000];
                0x82
            }
            2 => {
                payload.push(0xff);
                0x81
            }
            3 => 0x88,
            4 | 5 => 0x8a,
            6 => {
                for _ in 0..chance.below(30) {
                    bytes.extend(masked_piece(0x01, b""));
                    bytes.extend(masked_piece(0x00, b"").repeat(chance.below(30)));
                    bytes.extend(masked_piece(0x80, b""));
                }
                0x81
            }
            7..=15 => 0x89,
            16..=25 => 0x82,
            _ => 0x81,
        };
        bytes.extend(masked_piece(first, &payload));
    }
    if chance.below(2) == 0 {
        let at = chance.below(bytes.len());
        bytes[at] ^= 1 << chance.below(8);
    }
    bytes
}

/// §4.2.1: a request that was damaged is refused with a status, or is none.
#[tokio::test(start_paused = true)]
async fn garbage_instead_of_a_request_is_answered_with_one_status() {
    let request = Upgrade::default()
        .protocols(["chat"])
        .origin("http://localhost")
        .offer("ws://localhost/chat")
        .unwrap()
        .encode();
    let (mut accepted, mut refused) = (0, 0);
    for seed in 0..SEEDS {
        let mut chance = Chance::new(seed);
        let mut bytes = request.to_vec();
        for _ in 0..chance.below(3) {
            let at = chance.below(bytes.len());
            match chance.below(4) {
                0 => bytes[at] = chance.below(256) as u8,
                1 => drop(bytes.remove(at)),
                2 => bytes.truncate(at + 1),
                _ => bytes.insert(at, b"\r\n\t ,;\"\0\x80"[chance.below(9)]),
            }
        }
        if chance.below(8) == 0 {
            bytes = (0..200).map(|_| chance.below(256) as u8).collect();
        }
        let (near, _far) = pipe(ROOMY);
        let (reads, writes) = (near.incoming(), near.outgoing());
        reads.put(&bytes);
        reads.end();
        match wsroom::accept(near.chopped(seed)).await {
            Ok(_) => accepted += 1,
            Err(Error::Handshake(fault)) => {
                refused += 1;
                let answer = String::from_utf8(writes.take()).unwrap();
                let line = format!("HTTP/1.1 {} ", fault.status().as_u16());
                assert!(answer.starts_with(&line), "seed {seed}: {answer}");
                assert!(fault.status().is_client_error() || fault.status().is_server_error());
                assert_eq!(answer.to_lowercase().matches("connection: ").count(), 1);
                assert!(writes.is_ended());
            }
            Err(other) => panic!("seed {seed}: {other:?}"),
        }
    }
    assert!(accepted > 50 && refused > 50, "{accepted} {refused}");
}
