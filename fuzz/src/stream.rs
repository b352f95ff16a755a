//! Streams of bytes that are frames, or nearly, and what a connection makes of them.

use arbitrary::{Arbitrary, Unstructured};
use wsroom::deflate::DeflateParams;
use wsroom::frame::{FrameHeader, MaskKey, OpCode};
use wsroom::protocol::Delivery;
use wsroom::{Agreed, Config, Connection, Event, ProtocolError, Role};

use crate::{Cuts, connection_with};

/// What one end reads, and how.
///
/// The first byte of an input is a set of flags: 1 for a server, 2 for delivery in fragments, 4
/// for small limits, 8 for a stream that is made from a list of frames, 16 for compression, and 32
/// for messages that may refer to those before them. Four bytes say how the stream is cut. Without flag 8 the rest is the stream itself, so that a seed can be written by
/// hand.
#[derive(Debug)]
pub struct Stream {
    pub role: Role,
    pub delivery: Delivery,
    pub config: Config,
    pub agreed: Agreed,
    pub cuts: Cuts,
    pub bytes: Vec<u8>,
}

impl<'a> Arbitrary<'a> for Stream {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let flags: u8 = u.arbitrary()?;
        let cuts = u.arbitrary()?;
        let role = [Role::Client, Role::Server][usize::from(flags & 1)];
        let small = Config::default()
            .max_message_size(300)
            .max_frame_size(200)
            .max_fragments(4);
        let mut bytes = Vec::new();
        if flags & 8 == 0 {
            bytes.extend_from_slice(u.bytes(u.len())?);
        } else {
            for item in u.arbitrary_iter()? {
                Item::encode(item?, role == Role::Server, &mut bytes);
            }
        }
        Ok(Self {
            role,
            delivery: [Delivery::Messages, Delivery::Fragments][usize::from(flags >> 1 & 1)],
            config: if flags & 4 == 0 {
                Config::default()
            } else {
                small
            },
            agreed: if flags & 16 == 0 {
                Agreed::default()
            } else {
                Agreed::default().with_deflate(DeflateParams {
                    server_no_context_takeover: flags & 32 == 0,
                    client_no_context_takeover: flags & 32 == 0,
                    server_max_window_bits: 15,
                    client_max_window_bits: 15,
                })
            },
            cuts,
            bytes,
        })
    }
}

#[derive(Arbitrary)]
enum Item<'a> {
    Text {
        fin: bool,
        text: &'a str,
    },
    Binary {
        fin: bool,
        payload: &'a [u8],
    },
    Continuation {
        fin: bool,
        payload: &'a [u8],
    },
    /// A message, or its first frame, in blocks that are stored as they are.
    Compressed {
        fin: bool,
        text: bool,
        payload: &'a [u8],
    },
    Ping {
        payload: &'a [u8],
    },
    Pong {
        payload: &'a [u8],
    },
    Close {
        code: u16,
        reason: &'a str,
    },
    /// A frame with at most one fault in its header, or a payload that is not as announced.
    Odd {
        first: u8,
        masked: bool,
        form: Form,
        announced: u64,
        payload: &'a [u8],
    },
    Raw {
        bytes: &'a [u8],
    },
}

/// In how many bytes a length is said.
#[derive(Arbitrary)]
enum Form {
    Two,
    Eight,
}

impl Item<'_> {
    fn encode(self, masked: bool, bytes: &mut Vec<u8>) {
        let (opcode, fin, payload) = match self {
            Self::Text { fin, text } => (OpCode::Text, fin, text.as_bytes().to_vec()),
            Self::Binary { fin, payload } => (OpCode::Binary, fin, payload.to_vec()),
            Self::Continuation { fin, payload } => (OpCode::Continuation, fin, payload.to_vec()),
            Self::Ping { payload } => (OpCode::Ping, true, payload.to_vec()),
            Self::Pong { payload } => (OpCode::Pong, true, payload.to_vec()),
            Self::Close { code, reason } => {
                let body = [&code.to_be_bytes(), reason.as_bytes()].concat();
                (OpCode::Close, true, body)
            }
            Self::Odd {
                first,
                masked,
                form,
                announced,
                payload,
            } => {
                bytes.push(first);
                bytes.push(u8::from(masked) << 7 | [126, 127][form as usize & 1]);
                match bytes.last() {
                    Some(126 | 254) => bytes.extend((announced as u16).to_be_bytes()),
                    _ => bytes.extend(announced.to_be_bytes()),
                }
                bytes.extend_from_slice(payload);
                return;
            }
            Self::Compressed { fin, text, payload } => {
                let opcode = if text { OpCode::Text } else { OpCode::Binary };
                let len = payload.len() as u16;
                let head = [&[0][..], &len.to_le_bytes(), &(!len).to_le_bytes()].concat();
                let end: &[u8] = if fin { &[0] } else { &[] };
                let start = bytes.len();
                frame(opcode, fin, masked, &[&head, payload, end].concat(), bytes);
                bytes[start] |= 0x40;
                return;
            }
            Self::Raw { bytes: raw } => return bytes.extend_from_slice(raw),
        };
        frame(opcode, fin, masked, &payload, bytes);
    }
}

fn frame(opcode: OpCode, fin: bool, masked: bool, payload: &[u8], bytes: &mut Vec<u8>) {
    let mask = masked.then_some(MaskKey::new([0x80, 0x41, 0x02, 0xf0]));
    let payload_len = payload.len() as u64;
    let header = FrameHeader {
        fin,
        rsv1: false,
        opcode,
        mask,
        payload_len,
    };
    bytes.extend_from_slice(header.encode().as_slice());
    let start = bytes.len();
    bytes.extend(payload);
    mask.unwrap_or_default().apply(&mut bytes[start..]);
}

/// The Pongs that are kept, the newest, and a Close.
const MAX_ANSWERS: usize = (64 << 10) + 2 * 131;

/// An event that outlives its input: opcode, whether it is the last of its message, payload.
pub type Heard = (OpCode, bool, Vec<u8>);

/// What came of a stream.
pub struct Outcome {
    pub connection: Connection,
    pub heard: Vec<Heard>,
    pub error: Option<ProtocolError>,
}

impl Stream {
    /// Has a new connection read the stream in these pieces.
    pub fn read(&self, pieces: Vec<Vec<u8>>) -> Outcome {
        let mut connection = connection_with(self.role, self.agreed.clone(), self.config);
        connection.set_delivery(self.delivery);
        let (mut heard, mut error) = (Vec::new(), None);
        for mut piece in pieces {
            let mut input = &mut piece[..];
            loop {
                let closed = connection.is_closed();
                match connection.receive(&mut input) {
                    Ok(None) => break,
                    _ if closed => panic!("input after the end is not dropped"),
                    Ok(Some(event)) => hear(&mut heard, event),
                    Err(fault) => error = Some(fault),
                }
            }
            assert!(input.is_empty(), "all input is used");
            assert!(
                connection.output_len() <= MAX_ANSWERS,
                "of many Pings, the newest"
            );
        }
        // What is wrong with a message is found sooner in smaller pieces: how much of it was given
        // out before is not promised.
        let in_content = [
            ProtocolError::InvalidUtf8,
            ProtocolError::InvalidDeflate,
            ProtocolError::MessageTooLarge,
        ];
        if error.is_some_and(|error| in_content.contains(&error)) {
            heard.pop_if(|(_, fin, _)| !*fin);
        }
        Outcome {
            connection,
            heard,
            error,
        }
    }
}

/// Notes an event; fragments that follow each other are one, since where they are cut has no
/// meaning.
fn hear(heard: &mut Vec<Heard>, event: Event<'_>) {
    let (opcode, fin, payload) = match event {
        Event::Text(text) => (OpCode::Text, true, text.as_bytes().to_vec()),
        Event::Binary(payload) => (OpCode::Binary, true, payload.to_vec()),
        Event::Ping(payload) => (OpCode::Ping, true, payload.to_vec()),
        Event::Pong { payload, .. } => (OpCode::Pong, true, payload.to_vec()),
        Event::Close(frame) => (OpCode::Close, true, frame.to_string().into_bytes()),
        Event::Fragment(piece) => (piece.opcode, piece.fin, piece.payload.to_vec()),
        event => panic!("unknown event {event:?}"),
    };
    match heard.last_mut() {
        Some((_, last, before)) if !*last && opcode == OpCode::Continuation => {
            *last = fin;
            before.extend(payload);
        }
        _ => heard.push((opcode, fin, payload)),
    }
}
