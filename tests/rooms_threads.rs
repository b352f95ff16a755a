//! Several threads at one hub: order, duplicates, deadlocks, what is left at the end.

#![cfg(feature = "rooms")]

mod common {
    pub(crate) mod outgoing;
}

use std::collections::{BTreeMap, BTreeSet};
use std::process;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Barrier, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use common::outgoing::text;
use wsroom::outbox::{self, Batch, OutboxLimits, OutboxReader, Taken};
use wsroom::rooms::{Hooks, LeaveReason, MemberInfo, RoomName};
use wsroom::{Hub, Member};

const ROOMS: [&str; 3] = ["blue", "green", "red"];
const ROUNDS: usize = 300;

/// B1.
#[test]
fn all_members_of_a_room_get_concurrent_messages_in_one_order() {
    let _watchdog = Watchdog::start();
    let hub = Hub::new();
    // One in each room alone, and two in all of them.
    let seats: [&[&str]; 5] = [&ROOMS[..1], &ROOMS[1..2], &ROOMS[2..], &ROOMS, &ROOMS];
    let mut receivers = seats.map(|rooms| {
        let (member, reader) = attach(&hub);
        for room in rooms {
            member.join(room).unwrap();
        }
        (member, reader)
    });
    at_once(4, |publisher| {
        for round in 0..10 * ROUNDS {
            let first = (publisher + round) % 3;
            // One room, or two or three of them.
            let targets = [0, 1, 2].map(|nth| ROOMS[(first + nth) % 3]);
            let targets = &targets[..1 + round % 3];
            let text = format!("{publisher} {round} {}", targets.join(" "));
            let report = hub.to_rooms(targets.iter().copied()).send(text);
            assert_eq!((report.evicted, report.closed), (0, 0));
        }
    });
    let lists = receivers.each_mut().map(|(_, reader)| texts(reader));
    for (nth, room) in ROOMS.iter().enumerate() {
        let of_room = |list: &Vec<String>| -> Vec<String> {
            let of_room = list.iter().filter(|text| text.contains(room));
            of_room.cloned().collect()
        };
        let expected = &lists[nth];
        assert_eq!(expected.len(), of_room(expected).len());
        in_order_and_once(expected);
        for list in &lists[3..] {
            assert!(of_room(list) == *expected, "order in {room}");
        }
    }
}

/// B1: those to all, too.
#[test]
fn all_members_get_concurrent_messages_to_all_in_one_order() {
    let _watchdog = Watchdog::start();
    let hub = Hub::new();
    let mut receivers: Vec<_> = (0..64).map(|_| attach(&hub)).collect();
    at_once(4, |publisher| {
        for round in 0..ROUNDS {
            let report = hub.to_all().send(format!("{publisher} {round}"));
            assert_eq!(report.queued, 64);
        }
    });
    let mut lists = receivers.iter_mut().map(|(_, reader)| texts(reader));
    let expected = lists.next().unwrap();
    assert_eq!(expected.len(), 4 * ROUNDS);
    in_order_and_once(&expected);
    assert!(lists.all(|list| list == expected), "one order");
}

/// Behind a welcome comes what was sent meanwhile, then what was sent later, and all of it.
#[test]
fn a_welcome_leaves_no_gap_in_what_is_sent_while_it_is_made() {
    let _watchdog = Watchdog::start();
    let hub = Hub::new();
    let (sent, is_done) = (AtomicUsize::new(0), AtomicBool::new(false));
    let wait_for = |count| {
        let begun = sent.load(Ordering::Acquire);
        while sent.load(Ordering::Acquire) < begun + count {
            thread::yield_now();
        }
    };
    at_once(2, |thread| {
        if thread == 0 {
            while !is_done.load(Ordering::Acquire) {
                let round = sent.fetch_add(1, Ordering::AcqRel);
                hub.to("lobby").send(format!("0 {round}"));
            }
            return;
        }
        let _done = Done(&is_done);
        for _ in 0..ROUNDS {
            let (member, mut reader) = attach(&hub);
            let welcome = |_: &[MemberInfo]| {
                wait_for(50);
                ["welcome"]
            };
            member.join_with("lobby", welcome).unwrap();
            wait_for(10);
            let read = texts(&mut reader);
            assert_eq!(read[0], "welcome");
            let numbers = read[1..].iter().map(|text| text[2..].parse().unwrap());
            let numbers: Vec<usize> = numbers.collect();
            assert!(numbers.len() > 50, "{}", numbers.len());
            let gap = numbers.windows(2).find(|pair| pair[0] + 1 != pair[1]);
            assert_eq!(gap, None);
        }
    });
}

#[test]
fn joining_leaving_and_sending_at_once_keeps_order_and_ends_empty() {
    let _watchdog = Watchdog::start();
    let counter = Counter::default();
    let hub = Hub::with_hooks(counter.clone());
    let done = AtomicUsize::new(0);
    at_once(6, |thread| {
        if thread < 2 {
            for round in 0..ROUNDS {
                hub.to(ROOMS[round % 3]).send(format!("{thread} {round}"));
                let others = hub.to_rooms(ROOMS).except_rooms(["green"]);
                others.send(format!("{} {round}", thread + 10));
                hub.to_all().send(format!("{} {round}", thread + 20));
            }
            done.fetch_add(1, Ordering::Release);
            return;
        }
        let mut round = 0;
        while done.load(Ordering::Acquire) < 2 || round < ROUNDS {
            round += 1;
            let (member, mut reader) = attach(&hub);
            let room = ROOMS[(thread + round) % 3];
            if round % 2 == 0 {
                member.join(room).unwrap();
            } else {
                member.join_with(room, |_| ["welcome"]).unwrap();
            }
            member.join(ROOMS[round % 3]).unwrap();
            let own = format!("{} {round}", thread + 30);
            assert!(member.to(room).including_self().send(own.clone()).queued >= 1);
            let read = texts(&mut reader);
            assert!(read.contains(&own), "sent after the join");
            in_order_and_once(&read);

            assert!(member.leave(room));
            let unheard = format!("{} {round}", thread + 40);
            hub.to(room).send(unheard.clone());
            assert!(
                !texts(&mut reader).contains(&unheard),
                "sent after the leave"
            );
            match round % 3 {
                0 => assert!(hub.disconnect(member.id(), None)),
                1 => drop(member),
                _ => {
                    member.leave_all();
                }
            }
        }
    });
    assert!(hub.is_empty() && hub.rooms().is_empty());
    // Whatever came has gone, and no call is left behind.
    let balances = counter.0.lock().unwrap();
    assert!(balances.values().all(|balance| *balance == (0, false)));
    assert_eq!(balances.len(), 3);
}

#[test]
fn a_room_that_comes_and_goes_loses_nobody() {
    let _watchdog = Watchdog::start();
    let counter = Counter::default();
    let hub = Hub::with_hooks(counter.clone());
    // Each is often the first and the last: the join of one races with the last leave of another.
    at_once(4, |_| {
        let (member, mut reader) = attach(&hub);
        for round in 0..50 * ROUNDS {
            member.join("flicker").unwrap();
            assert!(hub.room("flicker").contains(member.id()));
            let text = format!("{} {round}", member.id());
            assert!(
                member
                    .to("flicker")
                    .including_self()
                    .send(text.clone())
                    .queued
                    >= 1
            );
            assert!(texts(&mut reader).contains(&text));
            assert!(member.leave("flicker"));
        }
    });
    assert!(hub.is_empty() && hub.rooms().is_empty());
    assert_eq!(counter.0.lock().unwrap()["flicker"], (0, false));
}

#[test]
fn concurrent_evictions_and_drops_of_one_member_count_once() {
    let _watchdog = Watchdog::start();
    let counter = Counter::default();
    let hub = Hub::with_hooks(counter.clone());
    for round in 0..ROUNDS {
        let (outbox, _reader) = outbox::channel(OutboxLimits::default().max_messages(1));
        let member = hub.attach(outbox);
        let id = member.id();
        for room in ROOMS {
            member.join(room).unwrap();
        }
        let member = Mutex::new(Some(member));
        let evicted = AtomicUsize::new(0);
        at_once(3, |thread| match thread {
            0 if round % 2 == 0 => drop(member.lock().unwrap().take()),
            0 => {
                hub.disconnect(id, None);
            }
            _ => {
                let reports = ROOMS.map(|room| hub.to(room).send("x"));
                let count = reports.iter().map(|report| report.evicted).sum();
                evicted.fetch_add(count, Ordering::Relaxed);
            }
        });
        assert!(evicted.into_inner() <= 1);
        assert!(hub.is_empty() && hub.rooms().is_empty());
    }
    let balances = counter.0.lock().unwrap();
    assert!(balances.values().all(|balance| *balance == (0, false)));
}

/// How many are in each room by the hooks, and whether it is there. Each call has to fit.
#[derive(Clone, Default)]
struct Counter(Arc<Mutex<BTreeMap<String, (usize, bool)>>>);

impl Counter {
    fn change(&self, room: &RoomName, change: impl FnOnce(&mut (usize, bool))) {
        let mut rooms = self.0.lock().unwrap();
        change(rooms.entry(room.to_string()).or_default());
    }
}

impl Hooks for Counter {
    fn room_created(&self, _: &Hub, room: &RoomName) {
        self.change(room, |state| {
            assert_eq!(*state, (0, false));
            state.1 = true;
        });
    }

    fn joined(&self, _: &Hub, _: &MemberInfo, room: &RoomName) {
        self.change(room, |state| {
            assert!(state.1);
            state.0 += 1;
        });
    }

    fn left(&self, _: &Hub, _: &MemberInfo, room: &RoomName, _: LeaveReason) {
        self.change(room, |state| {
            assert!(state.1);
            state.0 = state.0.checked_sub(1).expect("who left had joined");
        });
    }

    fn room_removed(&self, _: &Hub, room: &RoomName) {
        self.change(room, |state| {
            assert_eq!(*state, (0, true));
            state.1 = false;
        });
    }
}

/// Runs threads that begin together, and waits for them.
fn at_once(threads: usize, run: impl Fn(usize) + Sync) {
    let barrier = Barrier::new(threads);
    thread::scope(|scope| {
        for nth in 0..threads {
            let (run, barrier) = (&run, &barrier);
            scope.spawn(move || {
                barrier.wait();
                run(nth);
            });
        }
    });
}

/// Says so when it is dropped, in a panic too.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Ends the test program if a test hangs: threads that wait for each other cannot be stopped.
struct Watchdog {
    _done: mpsc::Sender<()>,
}

impl Watchdog {
    fn start() -> Self {
        let (sender, done) = mpsc::channel();
        thread::spawn(move || {
            if done.recv_timeout(Duration::from_secs(120)) == Err(RecvTimeoutError::Timeout) {
                eprintln!("threads are deadlocked");
                process::exit(101);
            }
        });
        Self { _done: sender }
    }
}

/// Texts begin with a publisher and a number: for each publisher, the numbers grow.
fn in_order_and_once(texts: &[String]) {
    let mut last = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for text in texts.iter().filter(|text| *text != "welcome") {
        assert!(seen.insert(text), "{text} came twice");
        let mut words = text.split(' ');
        let mut number = || words.next().unwrap().parse::<usize>().unwrap();
        let (publisher, round) = (number(), number());
        if let Some(before) = last.insert(publisher, round) {
            assert!(before < round, "{round} of {publisher} came after {before}");
        }
    }
}

fn attach(hub: &Hub) -> (Member, OutboxReader) {
    let limits = OutboxLimits::default()
        .max_messages(usize::MAX)
        .max_bytes(usize::MAX);
    let (outbox, reader) = outbox::channel(limits);
    (hub.attach(outbox), reader)
}

fn texts(reader: &mut OutboxReader) -> Vec<String> {
    let mut batch = Batch::default();
    let mut cx = Context::from_waker(Waker::noop());
    while let Poll::Ready(Taken::Messages) = reader.poll_take(&mut cx, usize::MAX, &mut batch) {}
    batch.iter().map(text).collect()
}
