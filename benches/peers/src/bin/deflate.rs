//! permessage-deflate: how much smaller messages get, what that costs a server in time and memory,
//! and a compressed message to many.
//!
//! ```text
//! cargo run --release --bin deflate -- [--short] [WORD]...
//! ```
//!
//! What comes to a server was compressed beforehand, each message by itself, which is right for
//! either kind of agreement and can be sent again and again. What it sends is counted, and that of
//! one connection is inflated and compared. Level 6 and level 1 compress messages of any length;
//! `default` leaves level and threshold to each contestant:
//!
//! - wsroom: level 6, from 128 B on, or 16 B where there is context takeover;
//! - sockudo-ws: level 6, from 32 B on;
//! - yawc: level 6, any length; its pool is an option, and only for no context takeover;
//! - npm ws: level 6, from 1024 B on where there is no context takeover, any length where there is;
//! - Bun: neither can be set; `shared` for no context takeover, `dedicated` for context takeover.
//!
//! The level 7 of zlib-rs, on which the crates build, is as thorough as the level 6 of C's zlib, on
//! which npm ws builds; so wsroom stands beside them with it too.
//!
//! yawc has no rooms. Bun and npm ws do not tell the size of their heap.

#[allow(dead_code, reason = "each program uses a part of it")]
#[path = "../crowd.rs"]
mod crowd;

use std::fmt::Write as _;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crowd::{COMPRESSED, Crowd, Measured, Options, Server, TEXT, Table};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use mio::{Events, Interest, Poll, Token};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};

/// What a server is run for.
#[derive(Clone, Copy)]
struct Mode {
    takeover: bool,
    level: &'static str,
}

struct Contestant {
    name: String,
    command: Vec<String>,
    /// Whether the level can be set.
    has_levels: bool,
    /// The level that it has instead of 6.
    instead_of_6: Option<&'static str>,
    has_rooms: bool,
    has_takeover: bool,
    is_rust: bool,
}

/// A kind of messages.
struct Corpus {
    name: &'static str,
    messages: Vec<String>,
    /// The messages as a client sends them, compressed; and where each ends.
    stream: Vec<u8>,
    ends: Vec<usize>,
}

const CONNECTIONS: usize = 16;
const IN_FLIGHT: usize = 16;

/// How many connections the memory is measured with, and how many before they come.
const IDLE: usize = 1000;
const WARM: usize = 16;

fn main() {
    let options = Options::from_args();
    let contestants = contestants();
    crowd::pin_self();
    let corpora = [
        Corpus::new("ticks of 200 B", 2000, tick),
        Corpus::new("chat of 80 B", 2000, chat),
        Corpus::new("documents of 4-16 KiB", 64, document),
    ];
    let modes = modes(&options);
    ratio(&options, &contestants, &corpora, &modes);
    echo(&options, &contestants, &corpora, &modes);
    memory(&options, &contestants, &corpora[0]);
    broadcast(&options, &contestants);
}

fn modes(options: &Options) -> Vec<Mode> {
    let levels: &[_] = if options.short {
        &["6"]
    } else {
        &["default", "6", "1"]
    };
    let both = [true, false].into_iter();
    both.flat_map(|takeover| levels.iter().map(move |level| Mode { takeover, level }))
        .collect()
}

impl Mode {
    fn name(self) -> String {
        let takeover = match self.takeover {
            true => "takeover",
            false => "no takeover",
        };
        match self.level {
            "default" => format!("{takeover}, defaults"),
            level => format!("{takeover}, level {level}"),
        }
    }

    const fn extensions(self) -> &'static str {
        if self.takeover {
            "permessage-deflate; client_max_window_bits"
        } else {
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
        }
    }
}

fn contestants() -> Vec<Contestant> {
    let server = crowd::sibling("deflate_server");
    let wsroom = crowd::crate_name("wsroom");
    let rust = [
        ("wsroom", wsroom.clone(), None),
        ("wsroom", wsroom + ", its level 7", Some("7")),
        ("sockudo", crowd::crate_name("sockudo-ws"), None),
        ("yawc", crowd::crate_name("yawc"), None),
        ("yawc-pooled", crowd::crate_name("yawc") + ", pooled", None),
    ];
    let rust = rust
        .into_iter()
        .map(|(contestant, name, instead_of_6)| Contestant {
            name,
            command: vec![server.clone(), contestant.to_owned()],
            has_levels: true,
            instead_of_6,
            has_rooms: !contestant.starts_with("yawc"),
            has_takeover: contestant != "yawc-pooled",
            is_rust: true,
        });
    let bun = crowd::js("node_modules/.bin/bun");
    let scripts = [
        ("ws", "node".to_owned(), "deflate_ws.mjs"),
        ("bun", bun, "deflate_bun.mjs"),
    ];
    let scripts = scripts.into_iter().filter_map(|(package, engine, script)| {
        let Some(name) = crowd::package_name(package) else {
            eprintln!("{package} is left out: run `npm install` in js first");
            return None;
        };
        Some(Contestant {
            name,
            command: vec![engine, crowd::js(script)],
            has_levels: package == "ws",
            instead_of_6: None,
            has_rooms: true,
            has_takeover: true,
            is_rust: false,
        })
    });
    rust.chain(scripts).collect()
}

impl Contestant {
    fn can(&self, mode: Mode) -> bool {
        (self.has_takeover || !mode.takeover)
            && (self.has_levels || mode.level == "default")
            && (self.instead_of_6.is_none() || mode.level == "6")
    }

    fn start(&self, task: &str, mode: Mode) -> Server {
        let takeover = if mode.takeover {
            "takeover"
        } else {
            "no-takeover"
        };
        let level = self.instead_of_6.unwrap_or(mode.level);
        let arguments = [task, takeover, level, "0"].map(str::to_owned);
        Server::start(&[&self.command[..], &arguments].concat())
    }
}

/// Bytes on the wire for each byte of payload: all messages of a corpus, once, on a connection that
/// is alone, and on one among others that do the same.
fn ratio(options: &Options, contestants: &[Contestant], corpora: &[Corpus], modes: &[Mode]) {
    let cases = modes.iter().flat_map(|&mode| {
        let counts: &[_] = if mode.takeover {
            &[1, CONNECTIONS]
        } else {
            &[1]
        };
        counts.iter().map(move |&count| (mode, count))
    });
    for (mode, count) in cases {
        let kind = match count {
            1 => "ratio".to_owned(),
            _ => format!("ratio among {count} connections"),
        };
        let name = |corpus: &Corpus| format!("{kind}, {}, {}", corpus.name, mode.name());
        let mut table = Table::default();
        for contestant in contestants.iter().filter(|contestant| contestant.can(mode)) {
            let wanted = |corpus: &&Corpus| options.want(&name(corpus), &contestant.name);
            let wanted: Vec<_> = corpora.iter().filter(wanted).collect();
            if wanted.is_empty() {
                continue;
            }
            let server = contestant.start("echo", mode);
            for corpus in wanted {
                let mut echo = Echo::open(&server, mode, corpus, count, usize::MAX);
                while echo.connections[0].replies < corpus.messages.len() {
                    echo.round();
                }
                let connection = &echo.connections[0];
                connection.check(corpus, &contestant.name);
                let payload: usize = corpus.messages.iter().map(String::len).sum();
                let wire = connection.bytes_of(corpus.messages.len());
                let unit = ("bytes on the wire per byte", false);
                let ratio = wire as f64 / payload as f64;
                table.add("deflate", &name(corpus), &contestant.name, unit, ratio);
            }
        }
        table.print();
    }
}

/// Messages that are inflated, and compressed again, per second of the server's CPU.
fn echo(options: &Options, contestants: &[Contestant], corpora: &[Corpus], modes: &[Mode]) {
    let repetitions = if options.short { 3 } else { 5 };
    let time = Duration::from_millis(if options.short { 60 } else { 1000 });
    for corpus in corpora {
        for &mode in modes {
            let workload = format!("echo, {}, {}", corpus.name, mode.name());
            let mut table = Table::default();
            let wanted = contestants.iter().filter(|contestant| {
                contestant.can(mode) && options.want(&workload, &contestant.name)
            });
            for contestant in rounds(wanted.collect(), repetitions) {
                let server = contestant.start("echo", mode);
                let mut echo = Echo::open(&server, mode, corpus, CONNECTIONS, 4 << 20);
                let measured = Measured::rounds(&server, time, || echo.round());
                echo.connections[0].check(corpus, &contestant.name);
                let per_cpu = measured.per_server_second();
                let unit = ("messages/CPU second", true);
                table.add("deflate", &workload, &contestant.name, unit, per_cpu);
                report(&workload, contestant, &measured);
            }
            table.print();
        }
    }
}

/// What a connection costs that has sent and got a few messages and is idle.
fn memory(options: &Options, contestants: &[Contestant], corpus: &Corpus) {
    let repetitions = if options.short { 1 } else { 3 };
    for takeover in [true, false] {
        let mode = Mode {
            takeover,
            level: "default",
        };
        let workload = format!("{IDLE} idle connections, {}", mode.name());
        let mut table = Table::default();
        let wanted = contestants
            .iter()
            .filter(|contestant| contestant.can(mode) && options.want(&workload, &contestant.name));
        for contestant in rounds(wanted.collect(), repetitions) {
            let mut server = contestant.start("echo", mode);
            let heap = |server: &mut Server| contestant.is_rust.then(|| server.heap_bytes());
            let _warm = use_each(&server, mode, corpus, WARM);
            let before = (server.resident_bytes(), heap(&mut server));
            let _idle = use_each(&server, mode, corpus, IDLE);
            let after = (server.resident_bytes(), heap(&mut server));
            let mut add = |kind, before: u64, after: u64| {
                let bytes = after.saturating_sub(before) as f64 / IDLE as f64;
                let unit = ("bytes/connection", false);
                let workload = format!("{kind}, {workload}");
                table.add("deflate", &workload, &contestant.name, unit, bytes);
            };
            add("RSS", before.0, after.0);
            if let (Some(before), Some(after)) = (before.1, after.1) {
                add("heap", before, after);
            }
        }
        table.print();
    }
}

/// Opens connections, each of which sends four messages and waits for their echoes.
fn use_each(server: &Server, mode: Mode, corpus: &Corpus, count: usize) -> Vec<TcpStream> {
    let end = corpus.ends[3];
    let open = |_| {
        let (mut stream, _) = crowd::open(server.port, "/", mode.extensions());
        stream.write_all(&corpus.stream[..end]).expect("it is open");
        for _ in 0..4 {
            read_frame(&mut stream);
        }
        stream
    };
    (0..count).map(open).collect()
}

/// A message of 1 KiB to all members, one at a time.
fn broadcast(options: &Options, contestants: &[Contestant]) {
    let repetitions = if options.short { 3 } else { 5 };
    let time = Duration::from_millis(if options.short { 60 } else { 1000 });
    for takeover in [true, false] {
        let mode = Mode {
            takeover,
            level: "default",
        };
        for members in [100, 1000] {
            if options.short && members > 100 {
                continue;
            }
            let workload = format!("to {members} members, 1 KiB, {}", mode.name());
            let mut table = Table::default();
            let wanted = contestants.iter().filter(|contestant| {
                let can = contestant.can(mode) && contestant.has_rooms;
                can && options.want(&workload, &contestant.name)
            });
            for contestant in rounds(wanted.collect(), repetitions) {
                let measured = measure_broadcast(contestant, mode, members, time);
                let per_cpu = measured.per_server_second();
                let unit = ("deliveries/CPU second", true);
                table.add("deflate", &workload, &contestant.name, unit, per_cpu);
                report(&workload, contestant, &measured);
            }
            table.print();
        }
    }
}

fn measure_broadcast(
    contestant: &Contestant,
    mode: Mode,
    members: usize,
    time: Duration,
) -> Measured {
    let server = contestant.start("room", mode);
    let (mut publisher, _) = crowd::open(server.port, "/publish", mode.extensions());
    // All members get the same bytes. How many these are, the first of them finds out.
    let (mut first, chosen) = crowd::open(server.port, "/", mode.extensions());
    assert!(chosen.starts_with("permessage-deflate"), "{chosen}");
    let mut crowd = Crowd::open(server.port, "/", mode.extensions(), members - 1);
    let mut rng = StdRng::seed_from_u64(1);
    let mut inflater = Inflater::new();
    let mut sent = Vec::new();
    let mut got = Vec::new();
    let measured = Measured::rounds(&server, time, || {
        let text = object(&mut rng, 1 << 10);
        let mut frame = Vec::new();
        crowd::client_frame(&mut frame, TEXT, text.as_bytes());
        publisher.write_all(&frame).expect("the server reads");
        let (start, payload) = read_frame(&mut first);
        assert!(start[0] & COMPRESSED != 0, "it is compressed");
        crowd.receive(start.len() + payload.len());
        sent.push(text);
        got.push(payload);
        members as u64
    });
    for (sent, got) in sent.iter().zip(&got) {
        assert!(inflater.inflate(got) == sent.as_bytes(), "it came through");
    }
    measured
}

/// Contestants in turn, so many times: in their order, and then shuffled.
fn rounds(contestants: Vec<&Contestant>, repetitions: usize) -> Vec<&Contestant> {
    let mut all = contestants.clone();
    for _ in 1..repetitions {
        let mut round = contestants.clone();
        round.shuffle(&mut rand::rng());
        all.extend(round);
    }
    all
}

fn report(workload: &str, contestant: &Contestant, measured: &Measured) {
    eprintln!(
        "{workload}: {}: {:.0} k per CPU second, server busy {:.0} %",
        contestant.name,
        measured.per_server_second() / 1e3,
        100.0 * measured.server_share(),
    );
}

/// Connections that keep messages in flight to a server that echoes.
struct Echo<'a> {
    poll: Poll,
    events: Events,
    corpus: &'a Corpus,
    connections: Vec<Connection>,
    buffer: Vec<u8>,
}

struct Connection {
    stream: mio::net::TcpStream,
    /// The next message, and how many of them were sent and came back.
    next: usize,
    replies: usize,
    /// Where the frame ends that is being read, if its header has come.
    unread: usize,
    head: Vec<u8>,
    /// What came, up to a limit.
    kept: Vec<u8>,
    limit: usize,
}

impl<'a> Echo<'a> {
    /// Opens connections and sends the first messages. What comes back on the first is kept.
    fn open(server: &Server, mode: Mode, corpus: &'a Corpus, count: usize, keep: usize) -> Self {
        let poll = Poll::new().expect("a file is left");
        let mut connections = Vec::new();
        for index in 0..count {
            let (stream, chosen) = crowd::open(server.port, "/", mode.extensions());
            assert!(chosen.starts_with("permessage-deflate"), "{chosen}");
            let takes_over = !chosen.contains("server_no_context_takeover");
            assert_eq!(takes_over, mode.takeover, "{chosen}");
            stream.set_nonblocking(true).expect("it is a socket");
            let mut stream = mio::net::TcpStream::from_std(stream);
            poll.registry()
                .register(&mut stream, Token(index), Interest::READABLE)
                .expect("it is registered once");
            connections.push(Connection {
                stream,
                next: 0,
                replies: 0,
                unread: 0,
                head: Vec::new(),
                kept: Vec::new(),
                limit: if index == 0 { keep } else { 0 },
            });
        }
        for connection in &mut connections {
            connection.send(corpus, IN_FLIGHT);
        }
        Self {
            poll,
            events: Events::with_capacity(64),
            corpus,
            connections,
            buffer: vec![0; 256 << 10],
        }
    }

    /// Waits once, and sends as many messages as came back, which it counts.
    fn round(&mut self) -> u64 {
        let waited = Some(Duration::from_secs(20));
        self.poll
            .poll(&mut self.events, waited)
            .expect("no signal is handled");
        assert!(!self.events.is_empty(), "the server lost a message");
        let mut replies = 0;
        for event in &self.events {
            let connection = &mut self.connections[event.token().0];
            let count = connection.read(&mut self.buffer);
            connection.send(self.corpus, count);
            replies += count as u64;
        }
        replies
    }
}

impl Connection {
    fn send(&mut self, corpus: &Corpus, mut count: usize) {
        while count > 0 {
            let first = self.next % corpus.messages.len();
            let last = (first + count).min(corpus.messages.len());
            let start = first.checked_sub(1).map_or(0, |before| corpus.ends[before]);
            let bytes = &corpus.stream[start..corpus.ends[last - 1]];
            let written = self.stream.write(bytes).expect("the server reads");
            assert_eq!(written, bytes.len(), "what is in flight fits the buffers");
            self.next += last - first;
            count -= last - first;
        }
    }

    /// Reads all there is, and counts the messages that are complete with it.
    fn read(&mut self, buffer: &mut [u8]) -> usize {
        let mut complete = 0;
        loop {
            match self.stream.read(buffer) {
                Ok(0) => panic!("the server closed a connection"),
                Ok(count) => {
                    if self.kept.len() < self.limit {
                        self.kept.extend_from_slice(&buffer[..count]);
                    }
                    complete += self.walk(&buffer[..count]);
                    if count < buffer.len() {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        self.replies += complete;
        complete
    }

    fn walk(&mut self, mut bytes: &[u8]) -> usize {
        let mut complete = 0;
        loop {
            if self.unread > 0 {
                let skipped = self.unread.min(bytes.len());
                self.unread -= skipped;
                bytes = &bytes[skipped..];
                if self.unread > 0 {
                    return complete;
                }
                complete += 1;
            }
            let Some((&byte, rest)) = bytes.split_first() else {
                return complete;
            };
            self.head.push(byte);
            bytes = rest;
            if let Some(len) = payload_len(&self.head) {
                assert_eq!(self.head[0] & !COMPRESSED, TEXT, "a whole text message");
                self.unread = len;
                self.head.clear();
            }
        }
    }

    /// How many bytes the first `count` messages took on the wire.
    fn bytes_of(&self, count: usize) -> usize {
        let mut rest = &self.kept[..];
        for _ in 0..count {
            split_frame(&mut rest).expect("it came");
        }
        self.kept.len() - rest.len()
    }

    /// Compares what came with what was sent.
    fn check(&self, corpus: &Corpus, contestant: &str) {
        let mut rest = &self.kept[..];
        let mut inflater = Inflater::new();
        let mut messages = corpus.messages.iter().cycle();
        while let Some((first, payload)) = split_frame(&mut rest) {
            let sent = messages.next().expect("it is a circle").as_bytes();
            let same = match first & COMPRESSED {
                0 => payload == sent,
                _ => inflater.inflate(payload) == sent,
            };
            assert!(same, "{contestant} altered a message");
        }
        assert!(self.replies > 0, "{contestant} echoes");
    }
}

/// The length that a header tells; `None` if it is not complete.
fn payload_len(head: &[u8]) -> Option<usize> {
    match (*head.get(1)?, head.get(2..)?) {
        (126, &[high, low, ..]) => Some(usize::from(u16::from_be_bytes([high, low]))),
        (126 | 127, _) => {
            let bytes = head.get(2..10).filter(|_| head[1] == 127)?;
            Some(u64::from_be_bytes(bytes.try_into().ok()?) as usize)
        }
        (len, _) => Some(len.into()),
    }
}

const fn header_len(second: u8) -> usize {
    match second {
        126 => 4,
        127 => 10,
        _ => 2,
    }
}

/// Takes a frame off the front: its first byte and its payload.
fn split_frame<'a>(rest: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let len = payload_len(rest)?;
    let start = header_len(rest[1]);
    let payload = rest.get(start..start + len)?;
    let first = rest[0];
    *rest = &rest[start + len..];
    Some((first, payload))
}

/// Reads a frame: its header and its payload.
fn read_frame(stream: &mut TcpStream) -> (Vec<u8>, Vec<u8>) {
    let mut head = vec![0; 2];
    stream.read_exact(&mut head).expect("the server answers");
    head.resize(header_len(head[1]), 0);
    stream
        .read_exact(&mut head[2..])
        .expect("the frame goes on");
    let len = payload_len(&head).expect("it is complete");
    let mut payload = vec![0; len];
    stream.read_exact(&mut payload).expect("the frame goes on");
    (head, payload)
}

/// Inflates what one server sends on one connection.
struct Inflater(Decompress);

impl Inflater {
    fn new() -> Self {
        Self(Decompress::new(false))
    }

    fn inflate(&mut self, payload: &[u8]) -> Vec<u8> {
        let input = [payload, &[0, 0, 0xff, 0xff]].concat();
        let mut output = Vec::with_capacity(64 << 10);
        let inflated = self
            .0
            .decompress_vec(&input, &mut output, FlushDecompress::Sync);
        inflated.expect("the server sends DEFLATE");
        output
    }
}

impl Corpus {
    fn new(name: &'static str, count: usize, make: fn(&mut StdRng, usize) -> String) -> Self {
        let mut rng = StdRng::seed_from_u64(7692);
        let messages: Vec<_> = (0..count).map(|index| make(&mut rng, index)).collect();
        let mut compress = Compress::new(Compression::new(6), false);
        let mut stream = Vec::new();
        let mut ends = Vec::new();
        for message in &messages {
            compress.reset();
            let mut output = Vec::with_capacity(message.len() + 64);
            compress
                .compress_vec(message.as_bytes(), &mut output, FlushCompress::Sync)
                .expect("it has room");
            assert!(output.ends_with(&[0, 0, 0xff, 0xff]), "it is flushed");
            output.truncate(output.len() - 4);
            crowd::client_frame(&mut stream, TEXT | COMPRESSED, &output);
            ends.push(stream.len());
        }
        Self {
            name,
            messages,
            stream,
            ends,
        }
    }
}

/// What a market sends.
fn tick(rng: &mut StdRng, index: usize) -> String {
    let symbols = ["AAPL", "MSFT", "NVDA", "AMZN", "GOOG", "META", "TSLA"];
    let symbol = symbols.choose(rng).expect("there are some");
    let (bid, millis) = (rng.random_range(10_000..50_000), 37 * index);
    format!(
        r#"{{"type":"tick","symbol":"{symbol}","bid":{}.{:02},"ask":{}.{:02},"bidSize":{},"askSize":{},"volume":{},"exchange":"XNAS","time":"2026-03-02T14:{:02}:{:02}.{:03}Z","sequence":{}}}"#,
        bid / 100,
        bid % 100,
        (bid + 3) / 100,
        (bid + 3) % 100,
        rng.random_range(1..40) * 100,
        rng.random_range(1..40) * 100,
        rng.random_range(1_000_000..9_000_000),
        millis / 60_000 % 60,
        millis / 1000 % 60,
        millis % 1000,
        810_000 + index,
    )
}

/// What people say, in words of an everyday vocabulary.
fn chat(rng: &mut StdRng, _: usize) -> String {
    let words: Vec<_> = WORDS.split_whitespace().collect();
    let names = ["ann", "bob", "zoë", "dmitri", "li", "mara"];
    let mut line = format!("{}:", names.choose(rng).expect("there are some"));
    let len = rng.random_range(50..100);
    while line.len() < len {
        let word = words.choose(rng).expect("there are some");
        write!(line, " {word}").expect("a string grows");
    }
    line
}

const WORDS: &str = "the a I you we they it is was will be have had not do did what when where who \
    why how this that there here yes no maybe ok thanks please sorry hello again today tomorrow \
    yesterday morning evening night week month work home train station meeting lunch dinner coffee \
    game movie music photo phone computer server deploy release branch review test build broken \
    fixed waiting running looking think know guess hope want need like love see hear tell ask call \
    send find give take make come go leave stay bring buy read write in on at to from with without \
    for about after before because if but and or so very really just only still already soon later \
    never always often good bad great nice funny strange late early ready sure happy tired :) :D";

/// A document of 4 to 16 KiB: records with words and numbers.
fn document(rng: &mut StdRng, index: usize) -> String {
    let len = rng.random_range(4 << 10..16 << 10) - 64;
    let mut text = format!(r#"{{"page":{index},"total":64,"orders":["#);
    while text.len() < len {
        if !text.ends_with('[') {
            text.push(',');
        }
        let left = (len - text.len()).clamp(120, 400);
        text += &object(rng, left);
    }
    text + "]}"
}

/// A record of about this length.
fn object(rng: &mut StdRng, len: usize) -> String {
    let id: u64 = rng.random();
    let mut text = format!(
        r#"{{"id":"{id:016x}","customer":{},"amount":{}.{:02},"currency":"EUR","paid":{},"note":""#,
        rng.random_range(1000..9999),
        rng.random_range(1..900),
        rng.random_range(0..100),
        rng.random_bool(0.8),
    );
    while text.len() + 2 < len {
        text += &chat(rng, 0).replace(':', "");
    }
    text.truncate(text.floor_char_boundary(len - 2));
    text + r#""}"#
}
