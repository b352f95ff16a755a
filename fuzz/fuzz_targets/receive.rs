//! Same bytes, same events, however they are cut; and whatever comes, legal frames go out.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wsroom::frame::OpCode;
use wsroom::{CloseCause, Config, Event};
use wsroom_fuzz::stream::Stream;
use wsroom_fuzz::{connection, peer_of, written};

fuzz_target!(|stream: Stream| {
    let mut whole = stream.read(vec![stream.bytes.clone()]);
    let mut cut = stream.read(stream.cuts.cut(&stream.bytes));
    assert_eq!((&whole.heard, whole.error), (&cut.heard, cut.error));
    assert_eq!(whole.connection.close_info(), cut.connection.close_info());
    let inside = whole.connection.is_inside_fragments();
    assert_eq!(inside, cut.connection.is_inside_fragments());
    let mut wire = written(&mut whole.connection);
    assert_eq!(wire, written(&mut cut.connection));

    let ended = whole.error.is_some() || whole.heard.iter().any(|said| said.0 == OpCode::Close);
    assert_eq!(whole.connection.is_closed(), ended);
    if let Some(error) = whole.error {
        let info = whole.connection.close_info().expect("it is closed");
        assert_eq!(info.cause, CloseCause::Protocol(error));
        assert_eq!(info.sent.expect("it is told").code, error.close_code());
    }
    let mut peer = connection(peer_of(stream.role), Config::default());
    let mut input = &mut wire[..];
    let mut closed = false;
    while let Some(event) = peer.receive(&mut input).expect("our frames are legal") {
        closed = matches!(event, Event::Close(_));
        assert!(closed || matches!(event, Event::Pong { .. }), "answers");
        assert!(!closed || input.is_empty(), "nothing follows a Close");
    }
    assert_eq!(closed, ended);
});
