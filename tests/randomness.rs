//! §5.3, §10.3: mask keys and handshake keys cannot be foretold, not from one another and not from
//! those of another connection, thread or process.
//!
//! The bounds are those of six standard deviations or more, so that a sound source fails once in a
//! hundred million runs.

mod common {
    pub(crate) mod sources;
}

use std::collections::HashSet;
use std::path::Path;
use std::process::{Command, Stdio};

use bytes::Buf;
use wsroom::{Agreed, Config, Connection, Role, Upgrade};

const MILLION: usize = 1_000_000;

/// Standard deviations that a sound source stays within.
const SIGMAS: f64 = 6.0;

#[test]
fn a_million_mask_keys_look_random_in_every_bit_and_byte_and_from_one_to_the_next() {
    let keys = mask_keys(&mut client(), MILLION);
    check(&keys);

    let next: Vec<u32> = keys.windows(2).map(|pair| pair[0] ^ pair[1]).collect();
    check_bits(&next, "one key and the next");
    // Keys are drawn by dozens, which must not show.
    for distance in [1, 16, 32, 64, 128, 256] {
        let same = keys.iter().zip(&keys[distance..]).filter(|(a, b)| a == b);
        assert!(same.count() <= 3, "keys come again after {distance}");
    }

    // As often as chance has it, two of them are the same.
    let mut sorted = keys;
    sorted.sort_unstable();
    let same = sorted.windows(2).filter(|pair| pair[0] == pair[1]).count() as f64;
    let expected = (MILLION as f64).powi(2) / 2.0 / 2_f64.powi(32);
    assert!(
        (same - expected).abs() < SIGMAS * expected.sqrt(),
        "{same} keys came twice, not {expected:.0}"
    );
}

#[test]
fn handshake_keys_look_random_and_come_once() {
    let nonces: Vec<[u8; 16]> = (0..20_000).map(|_| nonce()).collect();
    let distinct: HashSet<_> = nonces.iter().collect();
    assert_eq!(distinct.len(), nonces.len());
    let words: Vec<u32> = nonces
        .as_flattened()
        .as_chunks()
        .0
        .iter()
        .map(|&word| u32::from_le_bytes(word))
        .collect();
    check(&words);
}

#[test]
fn no_two_connections_or_threads_have_keys_in_common() {
    let of_thread = || {
        let [mut one, mut other] = [client(), client()];
        let mut streams = [Vec::new(), Vec::new()];
        // By turns, so that both take from the same draw.
        for _ in 0..500 {
            streams[0].extend(mask_keys(&mut one, 10));
            streams[1].extend(mask_keys(&mut other, 10));
        }
        streams
    };
    let threads: Vec<_> = (0..8).map(|_| std::thread::spawn(of_thread)).collect();
    let streams: Vec<_> = threads
        .into_iter()
        .flat_map(|thread| thread.join().unwrap())
        .collect();
    assert_disjoint(&streams);
}

#[test]
fn two_processes_started_at_the_same_time_have_no_keys_in_common() {
    let processes = [(); 4].map(|()| {
        let test = std::env::current_exe().unwrap();
        Command::new(test)
            .args(["--exact", "keys_of_a_process", "--ignored", "--nocapture"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    });
    let streams = processes.map(|process| {
        let output = process.wait_with_output().unwrap();
        let output = String::from_utf8(output.stdout).unwrap();
        let (_, keys) = output.split_once("keys:").unwrap();
        let keys = keys.split_whitespace();
        let keys: Vec<u32> = keys.map_while(|key| key.parse().ok()).collect();
        assert_eq!(keys.len(), 1004);
        keys
    });
    assert_disjoint(&streams);
}

#[test]
#[ignore = "prints what the test above compares"]
fn keys_of_a_process() {
    let nonce = nonce();
    let words = nonce.as_chunks().0.iter().copied().map(u32::from_le_bytes);
    let keys = mask_keys(&mut client(), 1000);
    let keys: Vec<String> = words.chain(keys).map(|key| key.to_string()).collect();
    println!("keys: {}", keys.join(" "));
}

/// A copy of the process has copies of its generators, and of the keys that were drawn ahead.
#[cfg(unix)]
#[test]
fn a_process_that_was_forked_shares_no_key_with_its_parent() {
    // The parent has drawn both before.
    let mut older = client();
    mask_keys(&mut older, 3);
    nonce();
    let keys = || {
        let nonce = nonce();
        let words = nonce.as_chunks().0.iter().copied().map(u32::from_le_bytes);
        words
            .chain(mask_keys(&mut client(), 500))
            .collect::<Vec<_>>()
    };
    let of_child = forked(keys);
    assert_disjoint(&[keys(), of_child]);
}

/// There is one source, and nothing chooses another: no feature, no variable, no clock.
#[test]
fn the_source_can_not_be_exchanged() {
    let mut found = 0;
    for (path, text) in common::sources::sources() {
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
        let is_source = path == Path::new("random.rs");
        assert_eq!(code.contains("rand::"), is_source, "{}", path.display());
        if is_source {
            let guarded = ["cfg", "env", "feature", "seed_from", "SeedableRng"];
            assert!(guarded.iter().all(|word| !code.contains(word)));
        }
        // Who fixes a key says so for one connection, in code.
        found += code.matches("fix_mask_key(").count();
    }
    assert_eq!(found, 3, "a declaration, and one below that it calls");
}

/// Bits, bytes, and what a byte says about those behind it.
fn check(words: &[u32]) {
    check_bits(words, "keys");
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    check_bytes(&bytes, "all bytes");
    for place in 0..4 {
        let bytes: Vec<u8> = bytes.iter().copied().skip(place).step_by(4).collect();
        check_bytes(&bytes, "the bytes of one place");
    }
    for distance in 1..=8 {
        let correlation = correlation(&bytes, &bytes[distance..]);
        let bound = SIGMAS / (bytes.len() as f64).sqrt();
        assert!(
            correlation.abs() < bound,
            "bytes at distance {distance}: {correlation}"
        );
    }
}

fn check_bits(words: &[u32], what: &str) {
    let count = words.len() as f64;
    for bit in 0..32 {
        let ones = words.iter().filter(|&&word| word >> bit & 1 == 1).count() as f64;
        let sigmas = (ones - count / 2.0) / (count / 4.0).sqrt();
        assert!(
            sigmas.abs() < SIGMAS,
            "bit {bit} of {what}: {ones} of {count}"
        );
    }
}

/// Chi-square with 255 degrees of freedom.
fn check_bytes(bytes: &[u8], what: &str) {
    let mut counts = [0.0; 256];
    for &byte in bytes {
        counts[usize::from(byte)] += 1.0;
    }
    let expected = bytes.len() as f64 / 256.0;
    let deviation = |count: &f64| (count - expected).powi(2) / expected;
    let chi_square: f64 = counts.iter().map(deviation).sum();
    // Both ends are less likely than one in 10⁸: uneven, and too even.
    assert!((146.0..398.0).contains(&chi_square), "{what}: {chi_square}");
}

fn correlation(some: &[u8], others: &[u8]) -> f64 {
    let pairs = some.iter().zip(others);
    let product = |(&a, &b): (&u8, &u8)| (f64::from(a) - 127.5) * (f64::from(b) - 127.5);
    let variance = (256.0 * 256.0 - 1.0) / 12.0;
    pairs.map(product).sum::<f64>() / others.len() as f64 / variance
}

/// Of 64 bits in a row, no two streams have any.
fn assert_disjoint(streams: &[Vec<u32>]) {
    let mut seen = HashSet::new();
    for stream in streams {
        assert!(stream.len() > 1);
        for pair in stream.windows(2) {
            assert!(seen.insert([pair[0], pair[1]]), "{pair:?} came twice");
        }
    }
}

fn client() -> Connection {
    Connection::new(Role::Client, Agreed::default(), Config::default())
}

/// The keys of the next frames that a client sends, all of the kinds that there are.
fn mask_keys(connection: &mut Connection, count: usize) -> Vec<u32> {
    let mut keys = Vec::with_capacity(count);
    for i in 0..count {
        match i % 3 {
            0 => connection.send_text("").unwrap(),
            1 => connection.send_binary(b"").unwrap(),
            _ => connection.ping(b"").unwrap(),
        }
        let frame = connection.output().copy_to_bytes(6);
        assert_eq!(frame[1], 0x80);
        keys.push(u32::from_le_bytes(frame[2..].try_into().unwrap()));
    }
    keys
}

/// What a client sends as Sec-WebSocket-Key.
fn nonce() -> [u8; 16] {
    use base64::Engine as _;

    let offer = Upgrade::default().offer("ws://localhost/").unwrap();
    let key = &offer.request().headers()["sec-websocket-key"];
    let key = base64::engine::general_purpose::STANDARD.decode(key);
    key.unwrap().try_into().unwrap()
}

/// What `make` gives in a copy of this process.
#[cfg(unix)]
#[expect(unsafe_code, reason = "a process can't be forked without")]
fn forked(make: impl FnOnce() -> Vec<u32>) -> Vec<u32> {
    use std::io::{Read, Write};

    unsafe extern "C" {
        fn fork() -> i32;
        fn waitpid(process: i32, status: *mut i32, options: i32) -> i32;
        fn _exit(status: i32) -> !;
    }

    let (mut reader, mut writer) = std::io::pipe().unwrap();
    // SAFETY: the copy has this thread only. It allocates, which the C library allows after a fork,
    // writes to a pipe, and ends without running anything that other threads may hold locks of.
    let process = unsafe { fork() };
    assert!(process >= 0);
    if process == 0 {
        let bytes: Vec<u8> = make().into_iter().flat_map(u32::to_le_bytes).collect();
        let written = writer.write_all(&bytes).is_ok();
        // SAFETY: it ends the copy.
        unsafe { _exit(i32::from(!written)) };
    }
    drop(writer);
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).unwrap();
    let mut status = 0;
    // SAFETY: the process is a child of this one, and `status` outlives the call.
    let ended = unsafe { waitpid(process, &raw mut status, 0) };
    assert_eq!((ended, status), (process, 0));
    let words = bytes.as_chunks().0.iter();
    words.map(|&word| u32::from_le_bytes(word)).collect()
}
