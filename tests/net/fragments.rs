//! Messages that are taken and sent in pieces (§5.4).

use bytes::Bytes;
use futures_util::FutureExt;
use wsroom::frame::OpCode;
use wsroom::{Config, Error, Fragment, Role, SendError};

use super::{masked, masked_piece, pipe, server, socket};

fn fragment(opcode: OpCode, fin: bool, payload: &'static str) -> Fragment {
    Fragment {
        opcode,
        fin,
        payload: Bytes::from_static(payload.as_bytes()),
    }
}

/// §10.4: neither side holds more than a few pieces of a message of 64 MiB.
#[tokio::test]
async fn a_message_of_64_mib_passes_through_constant_memory() {
    const PIECE: usize = 64 << 10;
    const PIECES: usize = 1_024;
    let (near, far) = pipe(PIECE);
    let mut client = socket(near, Role::Client, Config::default());
    let limits = Config::default()
        .max_message_size(usize::MAX)
        .max_frame_size(PIECE);
    let mut server = socket(far, Role::Server, limits);
    let sending = tokio::spawn(async move {
        let payload = Bytes::from(vec![b'x'; PIECE]);
        for i in 0..PIECES {
            let piece = Fragment {
                opcode: if i == 0 {
                    OpCode::Text
                } else {
                    OpCode::Continuation
                },
                fin: i == PIECES - 1,
                payload: payload.clone(),
            };
            client.feed_fragment(&piece).await.unwrap();
            assert!(client.connection().output_len() <= 3 * PIECE);
        }
        client.flush().await.unwrap();
        client
    });
    let (mut bytes, mut pieces) = (0, 0);
    loop {
        let piece = server.recv_fragment().await.unwrap().unwrap();
        let opcode = if pieces == 0 {
            OpCode::Text
        } else {
            OpCode::Continuation
        };
        assert_eq!(piece.opcode, opcode);
        assert!(piece.payload.len() <= PIECE);
        bytes += piece.payload.len();
        pieces += 1;
        if piece.fin {
            break;
        }
    }
    assert_eq!(bytes, PIECE * PIECES);
    drop(sending.await.unwrap());
}

#[tokio::test]
async fn a_whole_message_cannot_be_taken_inside_a_fragmented_one() {
    let (mut socket, reads, _writes, _far) = server(Config::default());
    reads.put(&masked_piece(0x01, b"one "));
    let piece = socket.recv_fragment().await.unwrap().unwrap();
    assert_eq!(piece, fragment(OpCode::Text, false, "one "));
    reads.put(&[masked(0, b"two"), masked(1, b"whole")].concat());
    assert!(matches!(socket.recv().await, Err(Error::InsideFragments)));
    let rest = socket.recv_fragment().await.unwrap().unwrap();
    assert_eq!(rest, fragment(OpCode::Continuation, true, "two"));
    assert_eq!(socket.recv().await.unwrap(), Some("whole".into()));
}

/// Dropping `recv_fragment` before it gave the first piece leaves the message whole.
#[tokio::test(start_paused = true)]
async fn a_message_of_which_no_fragment_was_taken_can_still_be_taken_whole() {
    let text = masked(1, b"whole");
    for (begun, rest) in [
        (text[..6].to_vec(), text[6..].to_vec()),
        (masked_piece(0x01, b""), masked(0, b"whole")),
        (
            masked_piece(0x01, b""),
            [masked(9, b""), masked(0, b"whole")].concat(),
        ),
    ] {
        let (mut socket, reads, _writes, _far) = server(Config::default());
        reads.put(&begun);
        assert!(socket.recv_fragment().now_or_never().is_none());
        reads.put(&rest);
        assert_eq!(socket.recv().await.unwrap(), Some("whole".into()));
    }
}

#[tokio::test]
async fn a_message_that_recv_has_begun_comes_as_one_fragment() {
    let (mut socket, reads, _writes, _far) = server(Config::default());
    reads.put(&masked_piece(0x02, b"12"));
    assert!(socket.recv().now_or_never().is_none());
    reads.put(&masked(0, b"34"));
    let piece = socket.recv_fragment().await.unwrap().unwrap();
    assert_eq!(piece, fragment(OpCode::Binary, true, "1234"));
}

#[tokio::test]
async fn fragments_that_do_not_fit_are_refused_and_the_connection_lives_on() {
    let (mut socket, _reads, _writes, _far) = server(Config::default());
    let stray = fragment(OpCode::Continuation, true, "x");
    assert!(matches!(
        socket.feed_fragment(&stray).await,
        Err(Error::Send(SendError::NoMessageInProgress))
    ));
    socket
        .feed_fragment(&fragment(OpCode::Text, false, "a"))
        .await
        .unwrap();
    assert!(matches!(
        socket.send("b").await,
        Err(Error::Send(SendError::MessageInProgress))
    ));
    socket.ping(b"between").await.unwrap();
    socket
        .feed_fragment(&fragment(OpCode::Continuation, true, "b"))
        .await
        .unwrap();
    socket.send("c").await.unwrap();
}

/// §7.1.5: an end inside a message.
#[tokio::test]
async fn fragments_of_a_connection_that_is_lost_end_in_one_error() {
    let (mut socket, reads, _writes, _far) = server(Config::default());
    reads.put(&masked_piece(0x01, b"half"));
    reads.end();
    assert!(socket.recv_fragment().await.unwrap().is_some());
    assert!(matches!(
        socket.recv_fragment().await,
        Err(Error::ConnectionLost)
    ));
    assert_eq!(socket.recv().await.unwrap(), None);
}
