//! Endpoints of this crate over a network that breaks as a seed says, and models that say what may
//! come of it. A failing run prints its seed.

#![cfg(all(feature = "test-util", feature = "rooms"))]

mod network;
mod room;
mod session;
mod socket;

use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::sleep;
use wsroom::test_util::{Endpoint, Faults, Network};
use wsroom::{
    Agreed, CloseCause, CloseCode, CloseFrame, CloseInfo, Config, Message, Role, Upgrade, WebSocket,
};

/// What may happen on the links of a run.
fn draw_faults(network: &Network) -> Faults {
    match network.draw(0..4) {
        0 => Faults::none(),
        1 => Faults::lossless(),
        2 => Faults::fatal(),
        // A network that is only slow, and breaks.
        _ => Faults::none()
            .latency(Duration::from_millis(1)..=Duration::from_millis(400))
            .resets(0.01)
            .ends(0.01)
            .cuts(0.01),
    }
}

/// A client and a server whose handshake is done, over a link that may break, and whether it may.
fn draw_sockets(network: &Network) -> ([WebSocket<Endpoint>; 2], bool) {
    let faults = draw_faults(network);
    let breaks = ![Faults::none(), Faults::lossless()].contains(&faults);
    network.set_faults(faults);
    let agreed = agreed(&draw_upgrade(network));
    let config = draw_config(network);
    let (near, far) = network.pair();
    let client = WebSocket::new(near, Role::Client, agreed.clone(), config, &[]);
    let server = WebSocket::new(far, Role::Server, agreed, config, &[]);
    ([client, server], breaks)
}

/// Small limits, so that waiting for room is common; but who closes has patience with a side that
/// does other things first.
fn draw_config(network: &Network) -> Config {
    let mark = [1, 400, 64 << 10][network.draw(0..3) as usize];
    Config::default()
        .write_mark(mark)
        .close_timeout(Duration::from_secs(100))
}

/// A handshake that agrees on compression in two of three runs.
#[cfg(feature = "deflate")]
fn draw_upgrade(network: &Network) -> Upgrade {
    use wsroom::deflate::Deflate;

    let deflate = match network.draw(0..3) {
        0 => return Upgrade::default(),
        1 => Deflate::default(),
        _ => Deflate::default()
            .server_no_context_takeover()
            .client_max_window_bits(10),
    };
    Upgrade::default().deflate(deflate)
}

#[cfg(not(feature = "deflate"))]
fn draw_upgrade(_: &Network) -> Upgrade {
    Upgrade::default()
}

/// What both ends agree on by such a handshake.
fn agreed(upgrade: &Upgrade) -> Agreed {
    let offer = upgrade.offer("ws://simulated/").unwrap();
    let (response, agreed) = upgrade.accept(offer.request()).unwrap();
    assert_eq!(offer.verify(&response).unwrap(), agreed);
    agreed
}

/// The message with this number of a sender: it says both, and has any length.
fn message(network: &Network, sender: u64, number: usize) -> Message {
    let len = match network.draw(0..20) {
        0 => network.draw(0..40_000),
        1..=5 => network.draw(0..2_000),
        _ => network.draw(0..40),
    };
    let text = format!("{sender} {number} {}", "ä".repeat(len as usize / 2));
    match network.draw(0..2) {
        0 => text.into(),
        _ => text.into_bytes().into(),
    }
}

/// The sender and the number of such a message.
fn parse(message: &Message) -> (u64, usize) {
    let text = str::from_utf8(message.as_bytes()).unwrap();
    let mut words = text.splitn(3, ' ');
    let sender = words.next().unwrap().parse().unwrap();
    (sender, words.next().unwrap().parse().unwrap())
}

async fn pause(network: &Network, below: u64) {
    sleep(Duration::from_millis(network.draw(0..below))).await;
}

/// Every task that an endpoint has spawned is done, or soon will be.
async fn no_task_is_left() {
    sleep(Duration::from_secs(200)).await;
    assert_eq!(Handle::current().metrics().num_alive_tasks(), 0, "tasks");
}

/// What one side says about the Closes is what the other one says, as far as it knows.
fn closes_agree(one: &CloseInfo, other: &CloseInfo) {
    for (sender, receiver) in [(one, other), (other, one)] {
        if let Some(received) = &receiver.received {
            assert_eq!(sender.sent.as_ref(), Some(received));
        } else {
            assert_eq!(receiver.code(), CloseCode::ABNORMAL);
        }
        if receiver.cause == CloseCause::Remote {
            // §5.5.1: the answer has the code of what it answers.
            let code = |frame: &Option<CloseFrame>| frame.as_ref().map(|frame| frame.code);
            assert_eq!(code(&receiver.sent), code(&receiver.received));
        }
    }
}
