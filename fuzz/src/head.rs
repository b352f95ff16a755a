//! Heads of a handshake, read in pieces.

use std::fmt::Debug;

use bytes::Bytes;
use http::{Request, Response};
use wsroom::Upgrade;
use wsroom::deflate::Deflate;
use wsroom::handshake::{ExtensionOffer, HandshakeError, Refusal, RequestHead, ResponseHead};

use crate::Cuts;

/// What both ends speak, and limits that a fuzzer can reach.
pub fn upgrade() -> Upgrade {
    Upgrade::default()
        .protocols(["chat", "superchat"])
        .max_head_size(1000)
        .max_line_size(400)
        .max_headers(12)
}

/// What a side asks for about compression: flags, and the windows of server and client.
pub fn deflate([flags, server_bits, client_bits]: [u8; 3]) -> Deflate {
    let mut deflate = Deflate::default()
        .server_max_window_bits(server_bits)
        .client_max_window_bits(client_bits);
    if flags & 1 != 0 {
        deflate = deflate.server_no_context_takeover();
    }
    if flags & 2 != 0 {
        deflate = deflate.client_no_context_takeover();
    }
    deflate
}

/// What a client of ours asks for to make this offer, if it is a valid one of permessage-deflate.
pub fn deflate_of(offer: &ExtensionOffer<'_>) -> Option<Deflate> {
    let mut names: Vec<_> = offer.params().map(|(name, _)| name).collect();
    let is_open = names.contains(&"client_max_window_bits");
    names.sort_unstable();
    let is_repeated = names.windows(2).any(|pair| pair[0] == pair[1]);
    if offer.name() != "permessage-deflate" || is_repeated {
        return None;
    }
    let mut deflate = Deflate::default();
    for (name, value) in offer.params() {
        let bits = match value {
            None => None,
            Some("10" | "11" | "12" | "13" | "14" | "15" | "9") => value?.parse().ok(),
            Some(_) => return None,
        };
        deflate = match (name, bits) {
            ("server_no_context_takeover", None) => deflate.server_no_context_takeover(),
            ("client_no_context_takeover", None) => deflate.client_no_context_takeover(),
            ("server_max_window_bits", Some(bits)) => deflate.server_max_window_bits(bits),
            ("client_max_window_bits", Some(bits)) => deflate.client_max_window_bits(bits),
            ("client_max_window_bits", None) => deflate,
            _ => return None,
        };
    }
    Some(if is_open {
        deflate
    } else {
        deflate.full_client_window()
    })
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
