//! What there is to do: the payloads and the frames of every workload.

use std::sync::Arc;

use bytes::Bytes;
use wsroom::frame::{FrameHeader, MaskKey, OpCode};

use crate::wire::BURST;

/// What a contestant does with the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// As a server, receives all messages.
    Receive,
    /// As a server, receives all messages and sends each back.
    Echo,
    /// As a client, sends all messages, which are to be written at the end.
    SendAsClient,
    /// The same as a server.
    SendAsServer,
}

/// One row: frames that come over and over, or payloads to send.
pub struct Workload {
    pub suite: &'static str,
    pub name: String,
    pub task: Task,
    pub is_text: bool,
    /// The messages, in the order in which they come or are sent.
    pub payloads: Vec<Bytes>,
    /// The frames of all messages, and then what comes if they begin anew.
    pub wire: Vec<u8>,
    /// How long the frames are once.
    pub wire_len: usize,
    /// A read gives so much at most.
    pub read_limit: usize,
    /// After so many bytes the stream ends.
    pub end: usize,
    /// What the cost is divided by.
    pub units: usize,
    pub unit: &'static str,
}

/// The longest message that is received: all contestants have the same limit.
pub const MAX_MESSAGE: usize = 16 << 20;

/// As many frames may make one message, where that has a limit.
pub const MAX_FRAGMENTS: u32 = 1 << 17;

/// Frames of at least so many bytes are prepared, so that they do not lie in the first cache.
const PREPARED: usize = 256 << 10;

const SIZES: [usize; 7] = [8, 64, 125, 1 << 10, 16 << 10, 64 << 10, 1 << 20];

/// All workloads, in the order in which they are printed.
pub fn all() -> Vec<Arc<Workload>> {
    let mut all = Vec::new();
    for size in SIZES {
        all.push(received(
            "codec decode",
            "decode",
            Task::Receive,
            Content::Binary,
            size,
        ));
    }
    for content in [Content::Ascii, Content::Mixed] {
        for size in [64, 1 << 10, 16 << 10] {
            all.push(received(
                "codec text",
                "decode",
                Task::Receive,
                content,
                size,
            ));
        }
    }
    for size in SIZES {
        all.push(sent(
            "codec encode, client",
            "encode masked",
            Task::SendAsClient,
            size,
        ));
    }
    for size in SIZES {
        all.push(sent(
            "codec encode, server",
            "encode",
            Task::SendAsServer,
            size,
        ));
    }
    for (content, size) in [
        (Content::Binary, 8),
        (Content::Binary, 64),
        (Content::Ascii, 1 << 10),
        (Content::Binary, 16 << 10),
        (Content::Binary, 1 << 20),
    ] {
        all.push(received("codec echo", "echo", Task::Echo, content, size));
    }
    all.extend([in_fragments(), byte_by_byte(), ping_flood()]);
    all.into_iter().map(Arc::new).collect()
}

#[derive(Clone, Copy)]
enum Content {
    Binary,
    Ascii,
    /// Cyrillic, Chinese, emoji and some ASCII.
    Mixed,
}

/// Messages of one frame each.
fn received(
    suite: &'static str,
    verb: &str,
    task: Task,
    content: Content,
    size: usize,
) -> Workload {
    let mut random = Random(size as u64);
    let count = (PREPARED / size).max(1);
    let payloads: Vec<_> = (0..count).map(|_| random.payload(content, size)).collect();
    let (opcode, kind) = match content {
        Content::Binary => (OpCode::Binary, ""),
        Content::Ascii => (OpCode::Text, " ASCII text"),
        Content::Mixed => (OpCode::Text, " mixed text"),
    };
    let mut wire = Vec::new();
    for payload in &payloads {
        random.frame(&mut wire, opcode, true, payload);
    }
    Workload {
        task,
        is_text: opcode == OpCode::Text,
        ..cyclic(
            suite,
            format!("{verb}, {}{kind}", in_bytes(size)),
            payloads,
            wire,
        )
    }
}

/// Messages to send in one batch: 64, or 1 MiB of them.
fn sent(suite: &'static str, verb: &str, task: Task, size: usize) -> Workload {
    let mut random = Random(size as u64);
    let count = ((1 << 20) / size).clamp(1, 64);
    let payloads: Vec<_> = (0..count)
        .map(|_| random.payload(Content::Binary, size))
        .collect();
    Workload {
        task,
        ..cyclic(
            suite,
            format!("{verb}, {}", in_bytes(size)),
            payloads,
            vec![0],
        )
    }
}

/// A text whose cost must not grow with the number of its fragments times its length.
fn in_fragments() -> Workload {
    let mut random = Random(4);
    let payload = random.payload(Content::Mixed, 4 << 20);
    let mut wire = Vec::new();
    let count = payload.len() / 64;
    for (i, fragment) in payload.chunks(64).enumerate() {
        let opcode = if i == 0 {
            OpCode::Text
        } else {
            OpCode::Continuation
        };
        random.frame(&mut wire, opcode, i + 1 == count, fragment);
    }
    Workload {
        is_text: true,
        ..cyclic(
            "codec hostile",
            "4 MiB of text in fragments of 64 B".into(),
            vec![payload],
            wire,
        )
    }
}

/// A message of which every read brings one byte.
fn byte_by_byte() -> Workload {
    let mut random = Random(1);
    let payload = random.payload(Content::Binary, 64 << 10);
    let mut wire = Vec::new();
    random.frame(&mut wire, OpCode::Binary, true, &payload);
    Workload {
        read_limit: 1,
        ..cyclic(
            "codec hostile",
            "64 KiB, one byte a read".into(),
            vec![payload],
            wire,
        )
    }
}

/// Pings that are to be answered, and one message so that the flood has an end.
fn ping_flood() -> Workload {
    // More than two reads bring, so that no read ends two floods.
    const PINGS: usize = 16384;
    let mut random = Random(9);
    let mut wire = Vec::new();
    for _ in 0..PINGS {
        let payload = random.payload(Content::Binary, 8);
        random.frame(&mut wire, OpCode::Ping, true, &payload);
    }
    let payload = random.payload(Content::Binary, 8);
    random.frame(&mut wire, OpCode::Binary, true, &payload);
    Workload {
        units: PINGS,
        unit: "ns/ping",
        ..cyclic(
            "codec hostile",
            "flood of pings, answered".into(),
            vec![payload],
            wire,
        )
    }
}

/// A text that is none, which must be refused.
pub fn invalid_text() -> Workload {
    let payload = Bytes::from_static(b"Latin-1 \xe9 is no UTF-8, however long the text goes on");
    let mut wire = Vec::new();
    Random(8).frame(&mut wire, OpCode::Text, true, &payload);
    Workload {
        is_text: true,
        end: wire.len(),
        ..cyclic("codec text", "invalid".into(), vec![payload], wire)
    }
}

/// Makes `wire` one that can be read from anywhere without a thought of its end.
fn cyclic(suite: &'static str, name: String, payloads: Vec<Bytes>, mut wire: Vec<u8>) -> Workload {
    let wire_len = wire.len();
    for i in 0..BURST {
        wire.push(wire[i % wire_len]);
    }
    Workload {
        suite,
        name,
        task: Task::Receive,
        is_text: false,
        units: payloads.len(),
        payloads,
        wire,
        wire_len,
        read_limit: BURST,
        end: usize::MAX,
        unit: "ns/message",
    }
}

fn in_bytes(size: usize) -> String {
    match size {
        0..1024 => format!("{size} B"),
        1024..0x10_0000 => format!("{} KiB", size >> 10),
        _ => format!("{} MiB", size >> 20),
    }
}

/// SplitMix64, so that every run and every contestant has the same bytes.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn payload(&mut self, content: Content, size: usize) -> Bytes {
        match content {
            Content::Binary => (0..size).map(|_| self.next() as u8).collect(),
            Content::Ascii => (0..size).map(|_| b' ' + self.below(95) as u8).collect(),
            Content::Mixed => self.mixed_text(size).into(),
        }
    }

    fn mixed_text(&mut self, size: usize) -> String {
        let mut text = String::with_capacity(size);
        while text.len() + 4 <= size {
            let (first, count) = match self.below(8) {
                0 | 1 => (0x20, 95),
                2..=4 => (0x410, 64),
                5 | 6 => (0x4e00, 20_000),
                _ => (0x1f600, 80),
            };
            let character = char::from_u32(first + self.below(count) as u32);
            text.push(character.expect("none of these is a surrogate"));
        }
        text.extend(std::iter::repeat_n('.', size - text.len()));
        text
    }

    /// A frame of a client with a key of its own.
    fn frame(&mut self, wire: &mut Vec<u8>, opcode: OpCode, fin: bool, payload: &[u8]) {
        let key = MaskKey::new((self.next() as u32).to_ne_bytes());
        let header = FrameHeader {
            fin,
            rsv1: false,
            opcode,
            mask: Some(key),
            payload_len: payload.len() as u64,
        };
        wire.extend_from_slice(header.encode().as_slice());
        let start = wire.len();
        wire.extend_from_slice(payload);
        key.apply(&mut wire[start..]);
    }
}
