//! Compressed messages are inflated as another implementation does it, however they are cut.
#![no_main]

#[path = "../../tests/common/reference.rs"]
mod reference;

use libfuzzer_sys::fuzz_target;
use reference::{Fault, Reader};
use wsroom::deflate::DeflateParams;
use wsroom::frame::{FrameHeader, OpCode};
use wsroom::{Agreed, Config, Connection, Event, ProtocolError, Role};
use wsroom_fuzz::Cuts;

// The flags say how many messages the bytes are, and with 4 whether they have one context.
fuzz_target!(|input: (u8, u16, Cuts, &[u8])| {
    let (flags, limit, cuts, bytes) = input;
    let params = DeflateParams {
        server_no_context_takeover: flags & 4 == 0,
        client_no_context_takeover: true,
        server_max_window_bits: 15,
        client_max_window_bits: 15,
    };
    let agreed = Agreed::default().with_deflate(params);
    let config = Config::default()
        .max_message_size(usize::from(limit))
        .max_frame_size(1 << 20);
    let mut whole = Connection::new(Role::Client, agreed.clone(), config);
    let mut cut = Connection::new(Role::Client, agreed, config);
    let mut reader = Reader::default();
    for payload in bytes.chunks((bytes.len() / (1 + usize::from(flags & 3))).max(1)) {
        let frame = frame(payload);
        let outcome = receive(&mut whole, vec![frame.clone()]);
        assert_eq!(outcome, receive(&mut cut, cuts.cut(&frame)));
        if params.server_no_context_takeover {
            reader = Reader::default();
        }
        // The other is laxer: zlib refuses some tables that it takes.
        match (outcome, reader.message(payload, usize::from(limit))) {
            (Ok(message), read) => assert_eq!((message, Ok(())), read),
            (Err(ProtocolError::MessageTooLarge), (_, verdict)) => {
                return assert_eq!(verdict, Err(Fault::TooLong));
            }
            (Err(error), _) => return assert_eq!(error, ProtocolError::InvalidDeflate),
        }
    }
});

fn frame(payload: &[u8]) -> Vec<u8> {
    let header = FrameHeader {
        fin: true,
        rsv1: true,
        opcode: OpCode::Binary,
        mask: None,
        payload_len: payload.len() as u64,
    };
    [header.encode().as_slice(), payload].concat()
}

/// The one message or fault in these pieces.
fn receive(connection: &mut Connection, pieces: Vec<Vec<u8>>) -> Result<Vec<u8>, ProtocolError> {
    let mut outcome = None;
    for mut piece in pieces {
        let mut input = &mut piece[..];
        while let Some(result) = connection.receive(&mut input).transpose() {
            assert!(outcome.is_none(), "one frame, one outcome");
            outcome = Some(result.map(|event| match event {
                Event::Binary(payload) => payload.to_vec(),
                event => panic!("nobody sent {event:?}"),
            }));
        }
        assert!(input.is_empty(), "all input is used");
    }
    outcome.expect("the frame is complete")
}
