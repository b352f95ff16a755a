//! How a connection ends over real TCP (§7.1.1, C10): the peer reads the Close whatever it has in
//! flight.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use wsroom::{CloseCode, CloseFrame, Config, Error, Role};

use super::{close_body, frames, masked, socket};

async fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let (far, _) = listener.accept().await.unwrap();
    (near, far)
}

/// C10: the peer has sent a megabyte that nobody will read when the server closes and drops the
/// socket.
#[tokio::test]
async fn a_peer_with_unread_data_in_flight_still_reads_the_close() {
    let (mut peer, stream) = tcp().await;
    let serving = tokio::spawn(async move {
        let mut socket = socket(stream, Role::Server, Config::default());
        assert_eq!(socket.recv().await.unwrap(), Some("first".into()));
        socket.feed("answer").await.unwrap();
        let frame = CloseFrame::from(CloseCode::GOING_AWAY);
        socket.close(frame).await.unwrap()
    });
    peer.write_all(&masked(1, b"first")).await.unwrap();
    for _ in 0..16 {
        peer.write_all(&masked(2, &[0; 65_536])).await.unwrap();
    }
    peer.write_all(&masked(8, &close_body(1001, "")))
        .await
        .unwrap();
    let mut wire = Vec::new();
    peer.read_to_end(&mut wire).await.unwrap();
    assert_eq!(
        frames(&wire),
        [(0x81, b"answer".to_vec()), (0x88, close_body(1001, ""))]
    );
    drop(peer);
    assert!(serving.await.unwrap().is_clean());
}

/// C10, §7.1.7: the same after a fault, which the peer learns from the code.
#[tokio::test]
async fn a_peer_that_goes_on_sending_after_a_fault_still_reads_the_close() {
    let (mut peer, stream) = tcp().await;
    let serving = tokio::spawn(async move {
        let mut socket = socket(stream, Role::Server, Config::default());
        socket.recv().await
    });
    peer.write_all(b"\x81\x01x").await.unwrap();
    for _ in 0..16 {
        peer.write_all(&masked(2, &[0; 65_536])).await.unwrap();
    }
    let mut wire = Vec::new();
    peer.read_to_end(&mut wire).await.unwrap();
    let reason = close_body(1002, "frame of a client is not masked");
    assert_eq!(frames(&wire), [(0x88, reason)]);
    drop(peer);
    assert!(matches!(serving.await.unwrap(), Err(Error::Protocol(_))));
}

/// X4 (server).
#[tokio::test]
async fn a_reset_is_one_error() {
    let (peer, stream) = tcp().await;
    let mut socket = socket(stream, Role::Server, Config::default());
    peer.set_zero_linger().unwrap();
    drop(peer);
    assert!(matches!(socket.recv().await, Err(Error::Io(_))));
    assert_eq!(socket.recv().await.unwrap(), None);
    assert_eq!(socket.close_info().unwrap().code(), CloseCode::ABNORMAL);
}

#[tokio::test]
async fn a_server_that_drops_its_socket_after_none_has_let_the_client_go_first() {
    let (near, far) = tcp().await;
    let mut client = socket(near, Role::Client, Config::default());
    let mut server = socket(far, Role::Server, Config::default());
    let serving = tokio::spawn(async move {
        assert_eq!(server.recv().await.unwrap(), None);
        server.close_info().unwrap()
    });
    let sent = CloseFrame::new(CloseCode::new(3000), "done");
    let info = client.close(sent.clone()).await.unwrap();
    assert!(info.is_clean());
    assert_eq!(info.code(), CloseCode::new(3000));
    let info = serving.await.unwrap();
    assert_eq!(info.received, Some(sent));
    assert!(info.is_clean());
}
