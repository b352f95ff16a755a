//! Random operations on a hub, next to a model that is too simple to be wrong.

#![cfg(feature = "rooms")]

mod common {
    pub(crate) mod outgoing;
}

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use common::outgoing::text;
use proptest::collection::vec;
use proptest::prelude::*;
use wsroom::outbox::{self, Batch, OutboxLimits, OutboxReader, Taken};
use wsroom::rooms::{Hooks, JoinError, LeaveReason, MemberInfo, Profile, RoomName};
use wsroom::{Hub, Member, MemberId};

const ROOMS: [&str; 4] = ["", "blue", "green", "red"];
const KEYS: [&str; 2] = ["ann", "ben"];
const MEMBERS: usize = 5;
/// Small, so that evictions happen.
const QUEUE: usize = 4;

#[derive(Clone, Debug)]
enum Op {
    Attach(usize, Option<usize>),
    Drop(usize),
    Join(usize, usize),
    JoinWith(usize, usize),
    Leave(usize, usize),
    LeaveAll(usize),
    Disconnect(usize),
    /// The connection ends; its member is dropped later, or never.
    Close(usize),
    Drain(usize),
    Send(Targets),
    SendTo(usize),
}

#[derive(Clone, Debug)]
struct Targets {
    all: bool,
    rooms: Vec<usize>,
    members: Vec<usize>,
    keys: Vec<usize>,
    sender: Option<usize>,
    except: Vec<usize>,
    except_rooms: Vec<usize>,
    /// Two messages together.
    together: bool,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let member = || 0..MEMBERS;
    let room = || 0..ROOMS.len();
    let key = || 0..KEYS.len();
    let targets = (
        prop::bool::weighted(0.1),
        vec(room(), 0..4),
        vec(member(), 0..2),
        vec(key(), 0..2),
        prop::option::of(member()),
        vec(member(), 0..2),
        vec(room(), 0..2),
        any::<bool>(),
    );
    let targets = targets.prop_map(
        |(all, rooms, members, keys, sender, except, except_rooms, together)| Targets {
            all,
            rooms,
            members,
            keys,
            sender,
            except,
            except_rooms,
            together,
        },
    );
    let op = prop_oneof![
        4 => (member(), prop::option::of(key())).prop_map(|(m, k)| Op::Attach(m, k)),
        1 => member().prop_map(Op::Drop),
        6 => (member(), room()).prop_map(|(m, r)| Op::Join(m, r)),
        2 => (member(), room()).prop_map(|(m, r)| Op::JoinWith(m, r)),
        3 => (member(), room()).prop_map(|(m, r)| Op::Leave(m, r)),
        1 => member().prop_map(Op::LeaveAll),
        1 => member().prop_map(Op::Disconnect),
        1 => member().prop_map(Op::Close),
        3 => member().prop_map(Op::Drain),
        8 => targets.prop_map(Op::Send),
        2 => member().prop_map(Op::SendTo),
    ];
    vec(op, 0..80)
}

/// One connection, and what the model knows about it.
struct Connection {
    member: Member,
    reader: Option<OutboxReader>,
    key: Option<usize>,
    rooms: BTreeSet<usize>,
    detached: bool,
    /// Told to close, or gone.
    closed: bool,
    queued: Vec<String>,
}

#[derive(Default)]
struct World {
    connections: BTreeMap<usize, Connection>,
    events: BTreeMap<String, Vec<String>>,
    /// The members of each room.
    rooms: BTreeMap<usize, BTreeSet<usize>>,
    sent: usize,
}

impl World {
    fn entered(&mut self, slot: usize, room: usize) {
        let id = self.connections[&slot].member.id();
        let members = self.rooms.entry(room).or_default();
        let created = members.is_empty();
        members.insert(slot);
        self.connection(slot).rooms.insert(room);
        if created {
            self.tell(room, "created".into());
        }
        self.tell(room, format!("{id} joined"));
    }

    fn left(&mut self, slot: usize, room: usize, reason: LeaveReason) {
        let id = self.connections[&slot].member.id();
        self.connection(slot).rooms.remove(&room);
        let members = self.rooms.get_mut(&room).unwrap();
        members.remove(&slot);
        let removed = members.is_empty();
        self.tell(room, format!("{id} left: {reason}"));
        if removed {
            self.rooms.remove(&room);
            self.tell(room, "removed".into());
        }
    }

    fn detached(&mut self, slot: usize, reason: LeaveReason) {
        for room in self.connections[&slot].rooms.clone() {
            self.left(slot, room, reason);
        }
        self.connection(slot).detached = true;
    }

    fn connection(&mut self, slot: usize) -> &mut Connection {
        self.connections.get_mut(&slot).unwrap()
    }

    fn tell(&mut self, room: usize, line: String) {
        let events = self.events.entry(ROOMS[room].to_owned()).or_default();
        events.push(line);
    }

    /// Puts a message into the outbox of the model. `None` if it is closed, `false` if full.
    fn queue(&mut self, slot: usize, text: &str) -> Option<bool> {
        let connection = self.connection(slot);
        if connection.closed {
            return None;
        }
        let queued = connection.queued.iter().map(String::as_str).chain([text]);
        let messages: usize = queued.map(|text| text.split(',').count()).sum();
        if messages <= QUEUE {
            connection.queued.push(text.to_owned());
            return Some(true);
        }
        connection.closed = true;
        connection.queued.clear();
        Some(false)
    }

    /// Who is evicted by one message leaves in the order of the ids.
    fn evicted(&mut self, mut slots: Vec<usize>) {
        slots.sort_by_key(|slot| self.connections[slot].member.id());
        for slot in slots {
            self.detached(slot, LeaveReason::Evicted);
        }
    }

    fn targets(&self, targets: &Targets) -> BTreeSet<usize> {
        let attached = self.connections.iter().filter(|(_, c)| !c.detached);
        let is_target = |slot: &usize, connection: &Connection| {
            targets.all
                || targets.rooms.iter().any(|r| connection.rooms.contains(r))
                || targets.members.contains(slot)
                || connection
                    .key
                    .is_some_and(|key| targets.keys.contains(&key))
        };
        attached
            .filter(|(slot, connection)| is_target(slot, connection))
            .map(|(&slot, _)| slot)
            .collect()
    }

    fn is_excepted(&self, targets: &Targets, slot: usize) -> bool {
        let rooms = &self.connections[&slot].rooms;
        targets.sender == Some(slot)
            || targets.except.contains(&slot)
            || targets.except_rooms.iter().any(|room| rooms.contains(room))
    }
}

proptest! {
    #[test]
    fn a_hub_does_what_its_model_does(ops in ops()) {
        let log = Log::default();
        let hub = Hub::with_hooks(log.clone());
        let mut world = World::default();
        for op in ops {
            step(&hub, &mut world, op);
            check(&hub, &world);
            prop_assert_eq!(&*log.0.lock().unwrap(), &world.events);
        }
        for slot in world.connections.keys().copied().collect::<Vec<_>>() {
            check_drained(&mut world, slot);
            step(&hub, &mut world, Op::Drop(slot));
        }
        prop_assert!(hub.is_empty() && hub.rooms().is_empty());
        prop_assert_eq!(&*log.0.lock().unwrap(), &world.events);
    }
}

fn step(hub: &Hub, world: &mut World, op: Op) {
    match op {
        Op::Attach(slot, key) => {
            if world.connections.contains_key(&slot) {
                return;
            }
            let limits = OutboxLimits::default().max_messages(QUEUE);
            let (outbox, reader) = outbox::channel(limits);
            let profile = match key {
                Some(key) => Profile::new().key(KEYS[key]),
                None => Profile::new(),
            };
            let connection = Connection {
                member: hub.attach_with(outbox, profile),
                reader: Some(reader),
                key,
                rooms: BTreeSet::new(),
                detached: false,
                closed: false,
                queued: Vec::new(),
            };
            world.connections.insert(slot, connection);
        }
        Op::Send(targets) => send(hub, world, &targets),
        Op::Drop(slot)
        | Op::Join(slot, _)
        | Op::JoinWith(slot, _)
        | Op::Leave(slot, _)
        | Op::LeaveAll(slot)
        | Op::Disconnect(slot)
        | Op::Close(slot)
        | Op::Drain(slot)
        | Op::SendTo(slot) => {
            if world.connections.contains_key(&slot) {
                step_of_one(hub, world, slot, op);
            }
        }
    }
}

fn step_of_one(hub: &Hub, world: &mut World, slot: usize, op: Op) {
    let connection = &world.connections[&slot];
    match op {
        Op::Drop(_) => {
            world.detached(slot, LeaveReason::Dropped);
            world.connections.remove(&slot);
        }
        Op::Join(_, room) => {
            let joined = connection.member.join(ROOMS[room]);
            expect_joined(
                world,
                slot,
                room,
                joined.map(|j| (j.already, j.created, j.members)),
            );
        }
        Op::JoinWith(_, room) => join_with(hub, world, slot, room),
        Op::Leave(_, room) => {
            let left = connection.member.leave(ROOMS[room]);
            assert_eq!(left, connection.rooms.contains(&room));
            if left {
                world.left(slot, room, LeaveReason::Left);
            }
        }
        Op::LeaveAll(_) => {
            assert_eq!(connection.member.leave_all(), connection.rooms.len());
            for room in connection.rooms.clone() {
                world.left(slot, room, LeaveReason::Left);
            }
        }
        Op::Disconnect(_) => {
            let disconnected = hub.disconnect(connection.member.id(), None);
            assert_eq!(disconnected, !connection.detached);
            if disconnected {
                world.connection(slot).closed = true;
                world.detached(slot, LeaveReason::Disconnected);
            }
        }
        Op::Close(_) => {
            let connection = world.connection(slot);
            connection.reader = None;
            connection.closed = true;
            connection.queued.clear();
        }
        Op::Drain(_) => check_drained(world, slot),
        Op::SendTo(_) => {
            world.sent += 1;
            let text = format!("{}", world.sent);
            let sent = hub.send_to(world.connections[&slot].member.id(), text.as_str());
            let expected = match world.connections[&slot].detached {
                true => "Err(Unknown)",
                false => match world.queue(slot, &text) {
                    Some(true) => "Ok(())",
                    Some(false) => {
                        world.evicted(vec![slot]);
                        "Err(Evicted)"
                    }
                    None => "Err(Closed)",
                },
            };
            assert_eq!(format!("{sent:?}"), expected);
        }
        Op::Attach(..) | Op::Send(_) => unreachable!("not of one connection"),
    }
}

fn expect_joined(
    world: &mut World,
    slot: usize,
    room: usize,
    joined: Result<(bool, bool, usize), JoinError>,
) {
    if world.connections[&slot].detached {
        assert_eq!(joined, Err(JoinError::Detached));
        return;
    }
    let before = world.rooms.get(&room).map_or(0, BTreeSet::len);
    let already = world.connections[&slot].rooms.contains(&room);
    let members = before + usize::from(!already);
    assert_eq!(joined, Ok((already, before == 0, members)));
    if !already {
        world.entered(slot, room);
    }
}

/// A welcome, with a message to the room between the join and the welcome.
fn join_with(hub: &Hub, world: &mut World, slot: usize, room: usize) {
    world.sent += 1;
    let (welcome, live) = (format!("welcome {}", world.sent), format!("{}", world.sent));
    let mut called = None;
    let member = &world.connections[&slot].member;
    let joined = member.join_with(ROOMS[room], |others| {
        called = Some(others.iter().map(MemberInfo::id).collect::<Vec<_>>());
        hub.to(ROOMS[room]).send(live.as_str());
        [welcome.as_str()]
    });
    let Some(others) = called else {
        expect_joined(
            world,
            slot,
            room,
            joined.map(|j| (j.already, j.created, j.members)),
        );
        return;
    };
    let before = world.rooms.get(&room).cloned().unwrap_or_default();
    let mut expected: Vec<_> = before
        .iter()
        .map(|other| world.connections[other].member.id())
        .collect();
    expected.sort();
    assert_eq!(others, expected);
    world.entered(slot, room);
    // To the others at once, to this one behind the welcome.
    let others = before.into_iter();
    let slow = others.filter(|&other| world.queue(other, &live) == Some(false));
    let slow = slow.collect();
    world.evicted(slow);
    let mut fits = world.queue(slot, &welcome);
    if fits == Some(true) {
        fits = world.queue(slot, &live);
    }
    if fits == Some(false) {
        world.evicted(vec![slot]);
    }
    assert_eq!(joined.is_err(), fits == Some(false), "{joined:?}");
}

fn send(hub: &Hub, world: &mut World, targets: &Targets) {
    world.sent += 1;
    let mut text = format!("{}", world.sent);
    let id = |slot: &usize| world.connections.get(slot).map(|c| c.member.id());
    let ids = |slots: &[usize]| slots.iter().filter_map(id).collect::<Vec<MemberId>>();
    let names = |rooms: &[usize]| rooms.iter().map(|&r| ROOMS[r]).collect::<Vec<_>>();

    let sender = targets.sender.and_then(|slot| world.connections.get(&slot));
    let rooms = names(&targets.rooms);
    let mut broadcast = match (sender, rooms.split_first()) {
        (_, _) if targets.all => hub.to_all(),
        (Some(sender), Some((first, others))) => others
            .iter()
            .fold(sender.member.to(*first), |b, room| b.also(*room)),
        (Some(sender), None) => hub.to_rooms([""; 0]).except(sender.member.id()),
        (None, _) => hub.to_rooms(rooms),
    };
    if let (true, Some(sender)) = (targets.all, sender) {
        broadcast = broadcast.except(sender.member.id());
    }
    for id in ids(&targets.members) {
        broadcast = broadcast.also_member(id);
    }
    for &key in &targets.keys {
        broadcast = broadcast.also_key(KEYS[key]);
    }
    let broadcast = broadcast
        .except_members(ids(&targets.except))
        .except_rooms(names(&targets.except_rooms));
    let report = if targets.together {
        let report = broadcast.send_all([text.as_str(), "too"]);
        text += ",too";
        report
    } else {
        broadcast.send(text.as_str())
    };

    let mut expected = [0; 4];
    let to = world.targets(targets);
    let excluded = to.iter().filter(|&&slot| world.is_excepted(targets, slot));
    let excluded: BTreeSet<_> = excluded.copied().collect();
    expected[3] = excluded.len();
    let mut slow = Vec::new();
    for &slot in to.difference(&excluded) {
        match world.queue(slot, &text) {
            Some(true) => expected[0] += 1,
            Some(false) => slow.push(slot),
            None => expected[2] += 1,
        }
    }
    expected[1] = slow.len();
    world.evicted(slow);
    let report = [
        report.queued,
        report.evicted,
        report.closed,
        report.excluded,
    ];
    assert_eq!(report, expected, "{targets:?}");
}

/// What each connection got is what the model queued: nothing twice, nothing after a leave.
fn check_drained(world: &mut World, slot: usize) {
    let connection = world.connection(slot);
    let queued = std::mem::take(&mut connection.queued);
    let Some(reader) = &mut connection.reader else {
        return;
    };
    let mut batch = Batch::default();
    let mut cx = Context::from_waker(Waker::noop());
    while let Poll::Ready(Taken::Messages) = reader.poll_take(&mut cx, usize::MAX, &mut batch) {}
    assert_eq!(batch.iter().map(text).collect::<Vec<_>>(), queued);
}

fn check(hub: &Hub, world: &World) {
    let rooms = hub.rooms().into_iter();
    let rooms: Vec<_> = rooms.map(|r| (r.name.to_string(), r.members)).collect();
    let expected = world.rooms.iter();
    let expected: Vec<_> = expected
        .map(|(&r, m)| (ROOMS[r].to_owned(), m.len()))
        .collect();
    assert_eq!(rooms, expected);

    let attached = || world.connections.values().filter(|c| !c.detached);
    assert_eq!(hub.len(), attached().count());
    for (key, name) in KEYS.iter().enumerate() {
        let with_key = attached().filter(|c| c.key == Some(key));
        let mut with_key: Vec<_> = with_key.map(|c| c.member.id()).collect();
        with_key.sort();
        assert_eq!(hub.members_with_key(name), with_key);
    }
    for connection in world.connections.values() {
        let id = connection.member.id();
        assert_eq!(hub.member(id).is_some(), !connection.detached);
        let names: Vec<_> = connection.rooms.iter().map(|&room| ROOMS[room]).collect();
        assert_eq!(connection.member.rooms(), names);
        for (room, name) in ROOMS.iter().enumerate() {
            let listed = hub.room(*name).members();
            let listed = listed.iter().any(|member| member.id() == id);
            assert_eq!(listed, connection.rooms.contains(&room));
            assert_eq!(listed, hub.room(*name).contains(id));
        }
    }
}

/// What the hooks were told, by room.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<BTreeMap<String, Vec<String>>>>);

impl Log {
    fn push(&self, room: &RoomName, line: String) {
        let mut rooms = self.0.lock().unwrap();
        rooms.entry(room.to_string()).or_default().push(line);
    }
}

impl Hooks for Log {
    fn joined(&self, _: &Hub, member: &MemberInfo, room: &RoomName) {
        self.push(room, format!("{} joined", member.id()));
    }

    fn left(&self, _: &Hub, member: &MemberInfo, room: &RoomName, reason: LeaveReason) {
        self.push(room, format!("{} left: {reason}", member.id()));
    }

    fn room_created(&self, _: &Hub, room: &RoomName) {
        self.push(room, "created".into());
    }

    fn room_removed(&self, _: &Hub, room: &RoomName) {
        self.push(room, "removed".into());
    }
}
