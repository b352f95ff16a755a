//! §7.1.1: how the stream ends after the closing handshake.
#![cfg(feature = "tokio")]

use tokio::time::Instant;
use wsroom::net::connect_over;
use wsroom::{Config, Upgrade};

#[tokio::test(start_paused = true)]
async fn a_client_that_sees_the_stream_end_ends_its_side_too() {
    let (client, server) = tokio::io::duplex(4096);
    let upgrade = Upgrade::default();
    let (client, server) = tokio::join!(
        connect_over(client, "ws://localhost/", &upgrade, Config::default()),
        wsroom::accept(server),
    );
    let ((mut client, _), mut server) = (client.unwrap(), server.unwrap());
    let began = Instant::now();

    // Both sockets live on, so neither stream ends by being dropped.
    let (closed, received) = tokio::join!(client.close(None), server.recv());

    closed.unwrap();
    assert_eq!(received.unwrap(), None);
    assert!(began.elapsed().is_zero(), "the server waited");
}
