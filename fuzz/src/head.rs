//! Heads of a handshake, read in pieces.

use std::fmt::Debug;

use bytes::Bytes;
use http::{Request, Response};
use wsroom::Upgrade;
use wsroom::handshake::{HandshakeError, Refusal, RequestHead, ResponseHead};

use crate::Cuts;

/// What both ends speak, and limits that a fuzzer can reach.
pub fn upgrade() -> Upgrade {
    Upgrade::default()
        .protocols(["chat", "superchat"])
        .max_head_size(1000)
        .max_line_size(400)
        .max_headers(12)
}

/// A reader of heads.
pub trait Reader {
    type Head;

    fn receive(&mut self, input: &mut &[u8]) -> Result<Option<Self::Head>, HandshakeError>;
}

impl Reader for RequestHead {
    type Head = Request<()>;

    fn receive(&mut self, input: &mut &[u8]) -> Result<Option<Self::Head>, HandshakeError> {
        self.receive(input)
    }
}

impl Reader for ResponseHead {
    type Head = Response<()>;

    fn receive(&mut self, input: &mut &[u8]) -> Result<Option<Self::Head>, HandshakeError> {
        self.receive(input)
    }
}

/// Reads a head whole and cut, which must agree: the head or the fault, and how many bytes were
/// taken for it.
pub fn read<R: Reader<Head: Debug>>(
    reader: impl Fn() -> R,
    bytes: &[u8],
    cuts: Cuts,
) -> (Result<Option<R::Head>, HandshakeError>, usize) {
    let (whole, taken) = read_pieces(reader(), &[bytes.to_vec()]);
    let (cut, taken_cut) = read_pieces(reader(), &cuts.cut(bytes));
    assert_eq!(format!("{whole:?}"), format!("{cut:?}"));
    assert_eq!(taken, taken_cut);
    assert!(
        !matches!(whole, Ok(Some(_))) || bytes[..taken].ends_with(b"\r\n\r\n"),
        "what follows the head is left"
    );
    (whole, taken)
}

/// The content of a refusal, and whether more of it may come.
pub fn refusal(upgrade: &Upgrade, head: Response<()>, pieces: &[Vec<u8>]) -> (bool, Bytes) {
    let mut refusal = Refusal::new(upgrade, head);
    for piece in pieces {
        refusal.receive(&mut &piece[..]);
    }
    let more = refusal.wants_more();
    match refusal.into_error() {
        HandshakeError::Refused(response) => (more, response.into_body()),
        error => panic!("not a refusal: {error}"),
    }
}

fn read_pieces<R: Reader>(
    mut reader: R,
    pieces: &[Vec<u8>],
) -> (Result<Option<R::Head>, HandshakeError>, usize) {
    let mut taken = 0;
    for piece in pieces {
        let mut rest = &piece[..];
        let result = reader.receive(&mut rest);
        taken += piece.len() - rest.len();
        match result {
            Ok(None) => assert!(rest.is_empty(), "all input is used"),
            _ => return (result, taken),
        }
    }
    (Ok(None), taken)
}
