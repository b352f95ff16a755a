//! How to test what is built on this crate: a chat room on a network that breaks, 200 times, each
//! time in another way.
//!
//! ```sh
//! cargo run --example simulation --features test-util
//! ```
//!
//! In a project of your own, `simulate` stands in a `#[test]`, and the feature under
//! `[dev-dependencies]`.

use std::error::Error;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep};
use wsroom::net::connect_over;
use wsroom::rooms::{Hooks, LeaveReason, MemberInfo, RoomName};
use wsroom::test_util::{Faults, Link, Network, simulate};
use wsroom::{CloseCode, CloseFrame, Config, Hub, Message, Session, Upgrade};

fn main() {
    simulate(0..200, the_others_learn_of_a_client_that_vanished);
    println!("200 networks, and nobody was forgotten");
}

/// What is tested: everyone who connects is in the lobby, and hears what the others say.
async fn chat<S>(stream: S, hub: Hub) -> Result<(), Box<dyn Error + Send + Sync>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut session = Session::spawn(wsroom::accept(stream).await?);
    let member = hub.attach(session.outbox().clone());
    member.join("lobby")?;
    while let Some(message) = session.recv().await? {
        member.to("lobby").send(message);
    }
    Ok(())
}

struct Announce;

impl Hooks for Announce {
    fn left(&self, hub: &Hub, _: &MemberInfo, room: &RoomName, _: LeaveReason) {
        hub.to(room).send("somebody has left");
    }
}

async fn the_others_learn_of_a_client_that_vanished(network: Network) {
    // Short reads and writes, latency, stalls: whatever a connection has to bear.
    network.set_faults(Faults::lossless());
    let hub = Hub::with_hooks(Announce);
    serve(&network, &hub);

    let (mut ann, _) = connect(&network).await;
    let (mut ben, _) = connect(&network).await;
    let (_cat, link) = connect(&network).await;
    wait_for_members(&hub, 3).await;

    // Cat's phone is out of reach: nothing tells the server.
    sleep(Duration::from_millis(network.draw(0..60_000))).await;
    link.cut();
    let vanished = Instant::now();

    ann.send("hello").await.unwrap();
    assert_eq!(next(&mut ben).await, Some("hello".into()));

    assert_eq!(next(&mut ann).await, Some("somebody has left".into()));
    assert_eq!(next(&mut ben).await, Some("somebody has left".into()));
    // The keepalive takes 40 seconds at most, and the network its own time.
    assert!(vanished.elapsed() < Duration::from_secs(45));
    assert_eq!(hub.room("lobby").len(), 2);

    for session in [ann, ben] {
        let info = session.close(CloseFrame::from(CloseCode::NORMAL)).await;
        assert!(info.unwrap().is_clean());
    }
    wait_for_members(&hub, 0).await;
}

/// Gives each connection that comes to the address "chat" to a task.
fn serve(network: &Network, hub: &Hub) {
    let mut listener = network.listen("chat").unwrap();
    let hub = hub.clone();
    tokio::spawn(async move {
        while let Some(stream) = listener.accept().await {
            tokio::spawn(chat(stream, hub.clone()));
        }
    });
}

/// A client, whose session answers Pings whatever the test does, and its link to the server.
async fn connect(network: &Network) -> (Session, Link) {
    let stream = network.connect("chat").await.unwrap();
    let link = stream.link();
    let upgrade = Upgrade::default();
    let connected = connect_over(stream, "ws://chat/", &upgrade, Config::default()).await;
    (Session::spawn(connected.unwrap().0), link)
}

async fn next(session: &mut Session) -> Option<Message> {
    session.recv().await.unwrap()
}

async fn wait_for_members(hub: &Hub, members: usize) {
    while hub.len() != members {
        sleep(Duration::from_millis(1)).await;
    }
}
