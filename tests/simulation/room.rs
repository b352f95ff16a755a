//! Rooms, with members that come, talk, change rooms, dawdle, leave and vanish.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use tokio::task::{JoinHandle, LocalSet, spawn_local};
use tokio::time::timeout;
use wsroom::net::{SessionConfig, accept_with, connect_over};
use wsroom::outbox::OutboxLimits;
use wsroom::rooms::{Hooks, LeaveReason, MemberInfo, RoomName};
use wsroom::test_util::{Endpoint, Network, simulate};
use wsroom::{
    CloseCause, CloseCode, CloseFrame, CloseInfo, Hub, MemberId, Session, Upgrade, WebSocket,
};

use super::socket::briefly;
use super::{draw_config, draw_faults, draw_upgrade, no_task_is_left, pause};

#[test]
fn members_get_what_was_sent_to_their_rooms_in_order_and_once() {
    simulate(0..800, async |network| {
        LocalSet::new().run_until(run(network)).await;
    });
}

/// The same seed, the same run, to the last byte and its time.
#[test]
fn a_seed_replays_exactly() {
    let runs = || {
        let mut runs = Vec::new();
        simulate(0..25, async |network| {
            LocalSet::new().run_until(run(network.clone())).await;
            runs.push((network.digest(), network.log()));
        });
        runs
    };
    let first = runs();
    assert!(first == runs(), "they differ");
    let digests: BTreeSet<_> = first.iter().map(|(digest, _)| digest).collect();
    assert_eq!(digests.len(), first.len(), "another seed, another run");
}

/// Everything that was ever sent to a room, and to whom.
#[derive(Default)]
struct History {
    sent: Vec<(String, BTreeSet<MemberId>)>,
    /// How each member's rooms ended.
    evicted: BTreeSet<MemberId>,
    /// The server shuts down: who comes now is too late.
    is_over: bool,
}

type Shared = Rc<RefCell<History>>;

async fn run(network: Network) {
    network.set_faults(draw_faults(&network));
    let upgrade = draw_upgrade(&network);
    let presence = Presence::default();
    let hub = Hub::with_hooks(presence.clone());
    let history = Shared::default();
    let server = serve(&network, &hub, &history, &upgrade);

    let mut clients = Vec::new();
    for client in 0..network.draw(2..6) {
        clients.push(spawn_local(visit(network.clone(), client, upgrade.clone())));
    }
    pause(&network, 60_000).await;
    history.borrow_mut().is_over = true;
    hub.close_all(CloseFrame::from(CloseCode::GOING_AWAY));
    for client in clients {
        if let Some(visit) = client.await.unwrap() {
            visit.check(&history.borrow());
        }
    }
    for session in server.await.unwrap() {
        session.await.unwrap();
    }
    assert!(hub.is_empty() && hub.rooms().is_empty());
    assert!(presence.0.lock().unwrap().is_empty(), "who joins leaves");
    history.borrow().check_senders();
    no_task_is_left().await;
}

/// Who is in which room, as the hooks tell it.
#[derive(Clone, Default)]
struct Presence(std::sync::Arc<std::sync::Mutex<BTreeSet<(MemberId, RoomName)>>>);

impl Hooks for Presence {
    fn joined(&self, _: &Hub, member: &MemberInfo, room: &RoomName) {
        let is_new = self.0.lock().unwrap().insert((member.id(), room.clone()));
        assert!(is_new, "once");
    }

    fn left(&self, _: &Hub, member: &MemberInfo, room: &RoomName, _: LeaveReason) {
        let was_in = self.0.lock().unwrap().remove(&(member.id(), room.clone()));
        assert!(was_in, "once");
    }
}

/// Accepts whoever comes within two minutes; gives the tasks of their sessions.
fn serve(
    network: &Network,
    hub: &Hub,
    history: &Shared,
    upgrade: &Upgrade,
) -> JoinHandle<Vec<JoinHandle<()>>> {
    let mut listener = network.listen("rooms").unwrap();
    let (network, hub, history) = (network.clone(), hub.clone(), Rc::clone(history));
    let upgrade = upgrade.clone();
    spawn_local(async move {
        let mut sessions = Vec::new();
        let enough = Duration::from_secs(120);
        while let Ok(Some(stream)) = timeout(enough, listener.accept()).await {
            let (network, hub, history) = (network.clone(), hub.clone(), Rc::clone(&history));
            let upgrade = upgrade.clone();
            sessions.push(spawn_local(async move {
                let config = draw_config(&network);
                if let Ok(socket) = accept_with(stream, &upgrade, config).await {
                    attend(socket, &network, &hub, &history).await;
                }
            }));
        }
        sessions
    })
}

/// Does what a member asks for: `join ROOM`, `leave ROOM`, `say ROOM SENDER NUMBER …`.
async fn attend(socket: WebSocket<Endpoint>, network: &Network, hub: &Hub, history: &Shared) {
    let limits = OutboxLimits::default().max_messages([8, 4_096][network.draw(0..2) as usize]);
    let mut session = Session::spawn_with(socket, SessionConfig::default().outbox(limits));
    let member = hub.attach(session.outbox().clone());
    let _ = session
        .outbox()
        .try_send(format!("you are {}", member.id()));
    if history.borrow().is_over {
        hub.disconnect(member.id(), CloseFrame::from(CloseCode::GOING_AWAY));
    }
    while let Ok(Some(asked)) = session.recv().await {
        let asked = asked.as_text().unwrap().to_owned();
        let mut words = asked.splitn(3, ' ');
        let (verb, room) = (words.next().unwrap(), words.next().unwrap());
        match verb {
            "join" => drop(member.join(room)),
            "leave" => drop(member.leave(room)),
            _ => {
                let to: BTreeSet<_> = hub
                    .room(room)
                    .members()
                    .iter()
                    .map(MemberInfo::id)
                    .collect();
                let report = member.to(room).including_self().send(&asked[..]);
                assert_eq!(report.queued + report.evicted + report.closed, to.len());
                let mut history = history.borrow_mut();
                for &id in &to {
                    if report.evicted > 0 && hub.member(id).is_none() {
                        history.evicted.insert(id);
                    }
                }
                history.sent.push((asked, to));
            }
        }
    }
}

/// What a client has seen.
struct Visit {
    id: MemberId,
    received: Vec<String>,
    info: CloseInfo,
}

/// Comes, does this and that, and stays, leaves, or vanishes. None if it never got
/// in, or heard nothing.
async fn visit(network: Network, client: u64, upgrade: Upgrade) -> Option<Visit> {
    pause(&network, 20_000).await;
    let stream = network.connect("rooms").await.unwrap();
    let link = stream.link();
    let config = draw_config(&network);
    let connected = connect_over(stream, "ws://rooms/", &upgrade, config).await;
    let (mut socket, _) = connected.ok()?;
    let mut received = Vec::new();
    let mut number = 0;
    let mut ended = false;
    let patience = network.draw(1..10) * 300;
    for _ in 0..network.draw(0..40) {
        let room = ["red", "green", "blue"][network.draw(0..3) as usize];
        let asked = match network.draw(0..8) {
            0..=2 => {
                // How long it does not look differs from client to client.
                pause(&network, patience).await;
                ended = take(&network, &mut socket, &mut received).await;
                None
            }
            3 | 4 => Some(format!("join {room}")),
            5 => Some(format!("leave {room}")),
            _ => {
                let padding = "x".repeat(network.draw(0..600) as usize);
                number += 1;
                Some(format!("say {room} {client} {} {padding}", number - 1))
            }
        };
        if let Some(asked) = asked {
            ended |= socket.send(asked).await.is_err();
        }
        if ended {
            break;
        }
    }
    match network.draw(0..6) {
        0 if !ended => socket
            .start_close(CloseFrame::from(CloseCode::NORMAL))
            .unwrap(),
        1 => link.cut(),
        2 => link.reset(),
        _ => {}
    }
    while let Ok(Some(message)) = socket.recv().await {
        received.push(message.as_text().unwrap().to_owned());
    }
    let id = received.first()?.strip_prefix("you are ")?.parse().unwrap();
    Some(Visit {
        id,
        received: received.split_off(1),
        info: socket.close_info().expect("it has ended"),
    })
}

/// Takes what is there; whether the connection has ended.
async fn take(
    network: &Network,
    socket: &mut WebSocket<Endpoint>,
    received: &mut Vec<String>,
) -> bool {
    loop {
        match briefly(network, socket.recv()).await {
            Some(Ok(Some(message))) => received.push(message.as_text().unwrap().to_owned()),
            Some(Ok(None) | Err(_)) => return true,
            None => return false,
        }
    }
}

impl Visit {
    /// In order, none twice, and all up to a point: after it, nothing. All of it, if the server
    /// closed the connection in an orderly way.
    fn check(&self, history: &History) {
        let of_member = |(_, to): &&(String, BTreeSet<MemberId>)| to.contains(&self.id);
        let sent = history.sent.iter().filter(of_member);
        let expected: Vec<_> = sent.map(|(message, _)| message.clone()).collect();
        let count = self.received.len();
        assert!(count <= expected.len(), "{count} of {}", expected.len());
        assert_eq!(self.received, expected[..count], "in order");
        let closed_by_server = self.info.is_clean() && self.info.cause == CloseCause::Remote;
        match self.info.code() {
            CloseCode::GOING_AWAY if closed_by_server => assert_eq!(count, expected.len()),
            // What a slow member has missed it was told by this code.
            CloseCode::TRY_AGAIN_LATER => assert!(history.evicted.contains(&self.id)),
            _ => {}
        }
    }
}

impl History {
    /// What a client said came in its order.
    fn check_senders(&self) {
        let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
        for (message, _) in &self.sent {
            let mut words = message.split(' ').skip(2);
            let next = numbers.entry(words.next().unwrap()).or_default();
            assert_eq!(words.next().unwrap().parse(), Ok(*next));
            *next += 1;
        }
    }
}
