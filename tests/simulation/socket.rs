//! Two `WebSocket`s over one link.

use std::time::Duration;

use tokio::time::{Instant, timeout};
use wsroom::frame::OpCode;
use wsroom::test_util::{Endpoint, Faults, Network, simulate};
use wsroom::{
    Agreed, CloseCode, CloseFrame, CloseInfo, Config, Error, Fragment, Message, Role, SendError,
    WebSocket,
};

use super::{closes_agree, draw_sockets, message, no_task_is_left, pause};

#[test]
fn two_sockets_lose_nothing_that_a_clean_close_promises() {
    simulate(0..2_500, async |network| {
        let ([client, server], breaks) = draw_sockets(&network);

        // One of them closes, or both do at once.
        let closers = network.draw(1..4);
        let client = tokio::spawn(converse(client, network.clone(), closers & 1 > 0));
        let server = tokio::spawn(converse(server, network.clone(), closers & 2 > 0));
        let (client, server) = (client.await.unwrap(), server.await.unwrap());

        check(&client, &server);
        check(&server, &client);
        closes_agree(&client.info, &server.info);
        if !breaks {
            for side in [&client, &server] {
                let clean = side.error.is_none() && side.info.is_clean();
                assert!(clean, "{:?}, {}", side.error, side.info);
            }
        }
        no_task_is_left().await;
    });
}

/// What one side has done and seen.
pub(super) struct Side {
    /// Messages that the socket has taken.
    pub(super) accepted: Vec<Message>,
    pub(super) received: Vec<Message>,
    pub(super) error: Option<Error>,
    pub(super) info: CloseInfo,
}

fn check(sender: &Side, receiver: &Side) {
    let count = receiver.received.len();
    assert!(count <= sender.accepted.len());
    assert!(receiver.received == sender.accepted[..count], "in order");
    if receiver.info.is_clean() {
        assert_eq!(count, sender.accepted.len(), "nothing is lost");
    }
    // Only a break of the transport is an error, never a rule that was broken.
    assert!(
        receiver
            .error
            .as_ref()
            .is_none_or(Error::is_connection_lost),
        "{:?}",
        receiver.error
    );
    // A Close that came is not lost with the answer to it.
    assert!(receiver.error.is_some() || receiver.info.is_clean());
}

/// Sends and receives by turns, drops many a future of either, and closes in the end.
pub(super) async fn converse(
    mut socket: WebSocket<Endpoint>,
    network: Network,
    closes: bool,
) -> Side {
    let mut side = Talk {
        accepted: Vec::new(),
        received: Vec::new(),
        error: None,
    };
    let mut left = network.draw(0..15);
    let mut is_open = true;
    while is_open && left > 0 {
        match network.draw(0..8) {
            0 => pause(&network, 2_000).await,
            1..=3 => is_open = side.take(&mut socket, &network).await,
            4 => {
                let flushed = briefly(&network, socket.flush()).await;
                is_open = side.note(flushed);
            }
            5 => {
                let pinged = briefly(&network, socket.ping(b"there?")).await;
                is_open = side.note(pinged);
            }
            _ => {
                left -= 1;
                let next = message(&network, 0, side.accepted.len());
                is_open = match network.draw(0..3) {
                    0 => side.send_fragments(&mut socket, &network, next).await,
                    _ => side.send(&mut socket, &network, next).await,
                };
            }
        }
    }
    if closes && is_open {
        let frame = CloseFrame::new(CloseCode::new(4000), "done");
        socket.start_close(frame).unwrap();
    }
    while side.error.is_none() {
        match socket.recv().await {
            Ok(Some(message)) => side.received.push(message),
            Ok(None) => break,
            Err(error) => side.error = Some(error),
        }
    }
    Side {
        accepted: side.accepted,
        received: side.received,
        error: side.error,
        info: socket.close_info().expect("it has ended"),
    }
}

struct Talk {
    accepted: Vec<Message>,
    received: Vec<Message>,
    error: Option<Error>,
}

impl Talk {
    /// Notes what came of a call; whether more can be sent.
    fn note(&mut self, result: Option<Result<(), Error>>) -> bool {
        match result {
            None | Some(Ok(())) => true,
            Some(Err(Error::Send(SendError::Closed))) => false,
            Some(Err(error)) => {
                self.error = Some(error);
                false
            }
        }
    }

    async fn take(&mut self, socket: &mut WebSocket<Endpoint>, network: &Network) -> bool {
        match briefly(network, socket.recv()).await {
            None => true,
            Some(Ok(Some(message))) => {
                self.received.push(message);
                true
            }
            Some(Ok(None)) => false,
            Some(Err(error)) => self.note(Some(Err(error))),
        }
    }

    /// A dropped call has not put the message in, so it is made again.
    async fn send(
        &mut self,
        socket: &mut WebSocket<Endpoint>,
        network: &Network,
        next: Message,
    ) -> bool {
        loop {
            let fed = briefly(network, socket.feed(next.clone())).await;
            let is_in = matches!(fed, Some(Ok(())));
            if !self.note(fed) {
                return false;
            }
            if is_in {
                self.accepted.push(next);
                return true;
            }
            // Both may be full, and wait for each other.
            if !self.take(socket, network).await {
                return false;
            }
        }
    }

    async fn send_fragments(
        &mut self,
        socket: &mut WebSocket<Endpoint>,
        network: &Network,
        next: Message,
    ) -> bool {
        let bytes = next.clone().into_bytes();
        let middle = network.draw(0..bytes.len() as u64 + 1) as usize;
        let first = match next.is_text() {
            true => OpCode::Text,
            false => OpCode::Binary,
        };
        let pieces = [
            (first, false, bytes.slice(..middle)),
            (OpCode::Continuation, true, bytes.slice(middle..)),
        ];
        for (opcode, fin, payload) in pieces {
            let piece = Fragment {
                opcode,
                fin,
                payload,
            };
            loop {
                let fed = briefly(network, socket.feed_fragment(&piece)).await;
                let is_in = matches!(fed, Some(Ok(())));
                if !self.note(fed) {
                    return false;
                }
                if is_in {
                    break;
                }
                if !self.take(socket, network).await {
                    return false;
                }
            }
        }
        self.accepted.push(next);
        true
    }
}

/// What a future gives within a moment, after which it is dropped.
pub(super) async fn briefly<F: Future>(network: &Network, future: F) -> Option<F::Output> {
    let moment = Duration::from_millis(network.draw(0..60));
    timeout(moment, future).await.ok()
}

/// X5: within the interval and the timeout, whatever was going on before.
#[test]
fn the_keepalive_finds_a_half_open_peer_in_time() {
    simulate(0..500, async |network| {
        network.set_faults(Faults::lossless().capacity(1 << 20));
        let (near, far) = network.pair();
        let link = near.link();
        let (interval, grace) = (network.draw(1..30), network.draw(10..30));
        let config = Config::default()
            .ping_interval(Duration::from_secs(interval))
            .pong_timeout(Duration::from_secs(grace));
        let patient = Config::default().ping_interval(None).idle_timeout(None);
        let near = WebSocket::new(near, Role::Server, Agreed::default(), config, &[]);
        let mut far = WebSocket::new(far, Role::Client, Agreed::default(), patient, &[]);
        let peer = tokio::spawn(async move { while let Ok(Some(_)) = far.recv().await {} });
        let talking = tokio::spawn(talk_until_lost(near, network.clone()));

        pause(&network, 100_000).await;
        assert!(!talking.is_finished(), "a slow network is no dead peer");
        // In one of two runs it hears what is said to it, and can say nothing.
        match network.draw(0..2) {
            0 => link.cut(),
            _ => link.to_client().cut(),
        }
        let cut = Instant::now();
        let error = talking.await.unwrap();
        assert!(matches!(error, Error::PongTimeout), "{error:?}");
        let found = cut.elapsed();
        // What was on its way when the link was cut arrives later.
        let most = Duration::from_secs(interval + grace);
        assert!(found <= most + Duration::from_millis(50), "{found:?}");
        peer.abort();
        let _ = peer.await;
        no_task_is_left().await;
    });
}

/// Sends now and then, and receives, until that fails.
async fn talk_until_lost(mut socket: WebSocket<Endpoint>, network: Network) -> Error {
    loop {
        let silence = Duration::from_millis(network.draw(1..5_000));
        match socket.recv_timeout(silence).await {
            Err(Error::RecvTimeout) => {}
            Err(error) => return error,
            Ok(_) => unreachable!("the peer says nothing"),
        }
        if let Err(error) = socket.feed(message(&network, 0, 0)).await {
            return error;
        }
    }
}
