//! A `Session` with many senders, and a `WebSocket` at the other end.

use std::time::Duration;

use tokio::time::timeout;
use wsroom::net::SessionConfig;
use wsroom::outbox::OutboxLimits;
use wsroom::test_util::{Faults, Network, simulate};
use wsroom::{
    CloseCause, CloseCode, CloseFrame, CloseInfo, Error, Message, Outbox, Role, Session, WebSocket,
};

use super::socket::{Side, briefly, converse};
use super::{
    agreed, closes_agree, draw_config, draw_sockets, draw_upgrade, message, no_task_is_left, parse,
    pause,
};

#[test]
fn a_session_loses_nothing_that_a_clean_close_promises() {
    simulate(0..1_500, async |network| {
        let ([far, near], breaks) = draw_sockets(&network);

        let closers = network.draw(1..4);
        let far = tokio::spawn(converse(far, network.clone(), closers & 1 > 0));
        let session = Session::spawn_with(near, draw_limits(&network));
        let held = hold(session, network.clone(), closers & 2 > 0).await;
        let far = far.await.unwrap();

        check_sent(&held, &far);
        check_received(&held, &far);
        closes_agree(&held.info, &far.info);
        if !breaks {
            for (error, info) in [(&held.error, &held.info), (&far.error, &far.info)] {
                assert!(error.is_none() && info.is_clean(), "{error:?}, {info}");
            }
        }
        no_task_is_left().await;
    });
}

fn draw_limits(network: &Network) -> SessionConfig {
    let draw = |values: [usize; 3]| values[network.draw(0..3) as usize];
    SessionConfig::default()
        .outbox(OutboxLimits::default().max_messages(draw([1, 4, 4_096])))
        .inbox_messages(draw([1, 3, 256]))
        .inbox_bytes(draw([1, 1_000, 1 << 18]))
}

/// What the owner of a session and its senders have done and seen.
struct Held {
    senders: Vec<Sent>,
    received: Vec<Message>,
    error: Option<Error>,
    info: CloseInfo,
}

/// What a sender put into the outbox, and how much of that was said to be written.
struct Sent {
    accepted: Vec<Message>,
    flushed: usize,
}

fn check_sent(held: &Held, far: &Side) {
    for (sender, sent) in held.senders.iter().enumerate() {
        let of_sender = |message: &&Message| parse(message).0 == sender as u64;
        let arrived: Vec<_> = far.received.iter().filter(of_sender).cloned().collect();
        assert!(arrived.len() <= sent.accepted.len());
        assert!(arrived == sent.accepted[..arrived.len()], "in order");
        if far.info.is_clean() {
            assert!(arrived.len() >= sent.flushed, "what was written arrives");
        }
        if far.info.is_clean() && held.info.cause == CloseCause::Local {
            assert_eq!(arrived.len(), sent.accepted.len(), "the Close comes last");
        }
    }
    let known = held.senders.len() as u64;
    assert!(far.received.iter().all(|message| parse(message).0 < known));
}

fn check_received(held: &Held, far: &Side) {
    let count = held.received.len();
    assert!(count <= far.accepted.len());
    assert!(held.received == far.accepted[..count], "in order");
    // Who has closed first may have no room for what still comes.
    if held.info.is_clean() && held.info.cause == CloseCause::Remote {
        assert_eq!(count, far.accepted.len(), "nothing is lost");
    }
}

async fn hold(mut session: Session, network: Network, closes: bool) -> Held {
    let senders: Vec<_> = (0..network.draw(1..4))
        .map(|sender| {
            let outbox = session.outbox().clone();
            tokio::spawn(send_all(outbox, network.clone(), sender))
        })
        .collect();
    let (mut received, mut error) = (Vec::new(), None);
    let mut left = network.draw(0..30);
    loop {
        if left == 0 && closes {
            let frame = CloseFrame::new(CloseCode::GOING_AWAY, "done");
            session.outbox().close(frame);
        }
        left = left.saturating_sub(1);
        if network.draw(0..4) == 0 {
            pause(&network, 500).await;
        }
        match session.recv_timeout(Duration::from_secs(1)).await {
            Ok(Some(message)) => received.push(message),
            Ok(None) => break,
            Err(Error::RecvTimeout) => {}
            Err(ended) => break error = Some(ended),
        }
    }
    let mut sent = Vec::new();
    for sender in senders {
        sent.push(sender.await.unwrap());
    }
    Held {
        senders: sent,
        received,
        error,
        info: session.closed().await.expect("its task ran to the end"),
    }
}

/// Sends by futures that are dropped and made again, until it has sent enough.
async fn send_all(outbox: Outbox, network: Network, sender: u64) -> Sent {
    let mut sent = Sent {
        accepted: Vec::new(),
        flushed: 0,
    };
    for number in 0..network.draw(0..12) as usize {
        let next = message(&network, sender, number);
        let put_in = loop {
            if let Some(put_in) = briefly(&network, outbox.send(next.clone())).await {
                break put_in;
            }
        };
        if put_in.is_err() {
            break;
        }
        sent.accepted.push(next);
        if network.draw(0..3) == 0
            && let Some(Ok(())) = briefly(&network, outbox.flush()).await
        {
            sent.flushed = sent.accepted.len();
        }
        if network.draw(0..3) == 0 {
            pause(&network, 1_000).await;
        }
    }
    sent
}

/// No Ping, no deadline and no later message wakes a task here, so that a wakeup that is lost is
/// not made up for.
#[test]
fn a_message_waits_for_no_other_event() {
    simulate(0..500, async |network| {
        network.set_faults(Faults::lossless().stalls(0.0, Duration::ZERO..=Duration::ZERO));
        let agreed = agreed(&draw_upgrade(&network));
        let (near, far) = network.pair();
        let session = |stream, role| {
            let config = draw_config(&network).ping_interval(None).idle_timeout(None);
            let socket = WebSocket::new(stream, role, agreed.clone(), config, &[]);
            Session::spawn_with(socket, draw_limits(&network))
        };
        let mut one = session(near, Role::Server);
        let mut other = session(far, Role::Client);
        for _ in 0..12 {
            let count = network.draw(1..4);
            let sending: Vec<_> = (0..count)
                .map(|sender| {
                    let outbox = one.outbox().clone();
                    let text = format!("{sender} 0 {}", "x".repeat(network.draw(0..900) as usize));
                    tokio::spawn(async move {
                        outbox.send(text).await.unwrap();
                        outbox.flush().await.unwrap();
                    })
                })
                .collect();
            let arriving = async {
                for _ in 0..count {
                    other.recv().await.unwrap().unwrap();
                }
                for sending in sending {
                    sending.await.unwrap();
                }
            };
            let in_time = timeout(Duration::from_secs(5), arriving).await;
            assert!(in_time.is_ok(), "something waits");
            std::mem::swap(&mut one, &mut other);
        }
        let closing = async {
            let peer = async { while other.recv().await.unwrap().is_some() {} };
            tokio::join!(one.close(None), peer).0
        };
        let closed = timeout(Duration::from_secs(5), closing).await;
        assert!(closed.expect("something waits").unwrap().is_clean());
        drop((one, other));
        no_task_is_left().await;
    });
}
