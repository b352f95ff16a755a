//! Rooms over outboxes whose readers are emptied by hand: no connection, no runtime.

#![cfg(feature = "rooms")]

mod common {
    pub(crate) mod outgoing;
}

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll, Waker};

use common::outgoing::text;
use wsroom::outbox::{self, Batch, OutboxLimits, OutboxReader, Outgoing, Taken};
use wsroom::rooms::{
    Hooks, HubConfig, JoinError, LeaveReason, MemberInfo, Profile, Report, RoomName, SendToError,
};
use wsroom::{CloseCode, CloseFrame, Hub, Member, MemberId, Message, PreparedMessage};

#[test]
fn the_first_join_creates_a_room_and_the_last_leave_removes_it() {
    let hub = Hub::new();
    let (ann, _) = attach(&hub);
    let (ben, _) = attach(&hub);
    assert!(hub.rooms().is_empty());

    let joined = ann.join("lobby").unwrap();
    assert!((joined.created, joined.already, joined.members) == (true, false, 1));
    let joined = ben.join("lobby").unwrap();
    assert!((joined.created, joined.already, joined.members) == (false, false, 2));
    let joined = ben.join("lobby").unwrap();
    assert!((joined.created, joined.already, joined.members) == (false, true, 2));
    assert_eq!(rooms(&hub), [("lobby".into(), 2)]);

    assert!(ann.leave("lobby"));
    assert!(!ann.leave("lobby"));
    assert_eq!(rooms(&hub), [("lobby".into(), 1)]);
    assert!(ben.leave("lobby"));
    assert!(hub.rooms().is_empty());
    assert!(ben.join("lobby").unwrap().created);
}

#[test]
fn dropping_a_member_leaves_every_room_and_every_index() {
    let hub = Hub::new();
    let (outbox, _reader) = outbox::channel(OutboxLimits::default());
    let ann = hub.attach_with(outbox, Profile::new().key("ann"));
    let id = ann.id();
    ann.join("red").unwrap();
    ann.join("blue").unwrap();
    assert_eq!(ann.rooms(), ["blue", "red"]);
    assert!(hub.room("red").contains(id) && !hub.room("green").contains(id));
    assert_eq!((hub.len(), hub.members_with_key("ann")), (1, vec![id]));
    assert_eq!(hub.member(id).unwrap().rooms(), ["blue", "red"]);

    drop(ann);
    assert!(hub.rooms().is_empty() && hub.is_empty());
    assert!(hub.members_with_key("ann").is_empty() && hub.member(id).is_none());
    assert!(!hub.room("red").contains(id));
    assert_eq!(hub.send_to(id, "late"), Err(SendToError::Unknown));
}

#[test]
fn leave_all_leaves_all_rooms_and_keeps_the_member() {
    let hub = Hub::new();
    let (ann, mut reader) = attach(&hub);
    for room in ["a", "b", "c"] {
        ann.join(room).unwrap();
    }
    assert_eq!((ann.leave_all(), ann.leave_all()), (3, 0));
    assert!(hub.rooms().is_empty() && ann.rooms().is_empty());
    hub.send_to(ann.id(), "still here").unwrap();
    assert_eq!(texts(&mut reader), ["still here"]);
}

#[test]
fn a_broadcast_reaches_the_members_of_its_room_and_nobody_else() {
    let hub = Hub::new();
    let (ann, mut to_ann) = attach(&hub);
    let (ben, mut to_ben) = attach(&hub);
    let (cat, mut to_cat) = attach(&hub);
    ann.join("red").unwrap();
    ben.join("red").unwrap();
    cat.join("blue").unwrap();

    assert_eq!(counts(hub.to("red").send("one")), [2, 0, 0, 0]);
    assert_eq!(counts(hub.to("green").send("two")), [0, 0, 0, 0]);
    assert_eq!(texts(&mut to_ann), ["one"]);
    assert_eq!(texts(&mut to_ben), ["one"]);
    assert_eq!(texts(&mut to_cat), [""; 0]);
}

#[test]
fn the_sender_is_excluded_unless_it_is_included() {
    let hub = Hub::new();
    let (ann, mut to_ann) = attach(&hub);
    let (ben, mut to_ben) = attach(&hub);
    ann.join("red").unwrap();
    ben.join("red").unwrap();

    assert_eq!(counts(ann.to("red").send("others")), [1, 0, 0, 1]);
    assert_eq!(
        counts(ann.to("red").including_self().send("all")),
        [2, 0, 0, 0]
    );
    ann.leave("red");
    assert_eq!(counts(ann.to("red").send("from outside")), [1, 0, 0, 0]);
    assert_eq!(texts(&mut to_ann), ["all"]);
    assert_eq!(texts(&mut to_ben), ["others", "all", "from outside"]);
}

#[test]
fn a_union_of_targets_reaches_each_member_once() {
    let hub = Hub::new();
    let (ann, mut to_ann) = attach_as(&hub, "ann");
    let (ben, mut to_ben) = attach_as(&hub, "ben");
    let (_cat, mut to_cat) = attach_as(&hub, "cat");
    ann.join("red").unwrap();
    ann.join("blue").unwrap();
    ben.join("blue").unwrap();

    let report = hub.to_rooms(["red", "blue", "red", "none"]).send("1");
    assert_eq!(counts(report), [2, 0, 0, 0]);
    let report = hub.to("red").also("blue").also_member(ann.id()).send("2");
    assert_eq!(counts(report), [2, 0, 0, 0]);
    let report = hub.to_key("cat").also_key("ann").also("red").send("3");
    assert_eq!(counts(report), [2, 0, 0, 0]);
    let report = hub
        .to_member(ben.id())
        .also_member(ben.id())
        .also_key("ben")
        .send("4");
    assert_eq!(counts(report), [1, 0, 0, 0]);
    let report = hub.to_all().also("red").also_key("cat").send("5");
    assert_eq!(counts(report), [3, 0, 0, 0]);
    assert_eq!(counts(hub.to_rooms([""; 0]).send("6")), [0, 0, 0, 0]);

    assert_eq!(texts(&mut to_ann), ["1", "2", "3", "5"]);
    assert_eq!(texts(&mut to_ben), ["1", "2", "4", "5"]);
    assert_eq!(texts(&mut to_cat), ["3", "5"]);
}

#[test]
fn exceptions_hold_for_every_target_and_are_counted_once() {
    let hub = Hub::new();
    let (ann, mut to_ann) = attach_as(&hub, "ann");
    let (ben, mut to_ben) = attach_as(&hub, "ben");
    let (cat, mut to_cat) = attach_as(&hub, "cat");
    for member in [&ann, &ben, &cat] {
        member.join("red").unwrap();
        member.join("blue").unwrap();
    }
    ben.join("muted").unwrap();

    let red = || hub.to("red").also("blue");
    assert_eq!(counts(red().except(ann.id()).send("1")), [2, 0, 0, 1]);
    let report = red().except_members([ann.id(), ben.id()]).send("2");
    assert_eq!(counts(report), [1, 0, 0, 2]);
    let report = red().except_rooms(["muted", "none"]).send("3");
    assert_eq!(counts(report), [2, 0, 0, 1]);
    let report = hub.to_all().except(cat.id()).except_rooms(["muted"]);
    assert_eq!(counts(report.send("4")), [1, 0, 0, 2]);
    let report = ann.to("red").also_key("ann").except(ben.id()).send("5");
    assert_eq!(counts(report), [1, 0, 0, 2]);

    assert_eq!(texts(&mut to_ann), ["3", "4"]);
    assert_eq!(texts(&mut to_ben), ["1"]);
    assert_eq!(texts(&mut to_cat), ["1", "2", "3", "5"]);
}

#[test]
fn members_are_found_by_the_applications_key() {
    let hub = Hub::new();
    let (phone, mut to_phone) = attach_as(&hub, "ann");
    let (laptop, mut to_laptop) = attach_as(&hub, "ann");
    let (_other, mut to_other) = attach_as(&hub, "ben");
    assert_eq!(hub.members_with_key("ann"), [phone.id(), laptop.id()]);
    assert_eq!(hub.to_key("ann").send("both").queued, 2);
    drop(phone);
    assert_eq!(hub.members_with_key("ann"), [laptop.id()]);
    assert_eq!(hub.to_key("ann").send("one").queued, 1);
    assert_eq!(hub.to_key("nobody").send("none").queued, 0);
    assert_eq!(texts(&mut to_phone), ["both"]);
    assert_eq!(texts(&mut to_laptop), ["both", "one"]);
    assert_eq!(texts(&mut to_other), [""; 0]);
}

#[test]
fn a_profile_is_seen_by_others() {
    struct Color(&'static str);
    let hub = Hub::new();
    let (outbox, _reader) = outbox::channel(OutboxLimits::default());
    let profile = Profile::new().key("ann").data(Color("red"));
    let ann = hub.attach_with(outbox, profile);
    ann.join("lobby").unwrap();

    let seen = &hub.room("lobby").members()[0];
    assert_eq!((seen.id(), seen.key()), (ann.id(), Some("ann")));
    assert_eq!(seen.data::<Color>().unwrap().0, "red");
    assert!(seen.data::<String>().is_none());
    assert_eq!(ann.data::<Color>().unwrap().0, "red");
    assert_eq!(ann.key(), Some("ann"));
}

#[test]
fn a_member_id_survives_its_text_form() {
    let hub = Hub::new();
    let (ann, _) = attach(&hub);
    let (ben, _) = attach(&hub);
    assert_ne!(ann.id(), ben.id());
    assert_eq!(ann.id().to_string().parse(), Ok(ann.id()));
    for text in [
        "",
        "0",
        "-1",
        "+1",
        "01",
        " 1",
        "1 ",
        "x",
        "18446744073709551616",
    ] {
        assert!(text.parse::<MemberId>().is_err(), "{text:?}");
    }
}

/// B5.
#[test]
fn a_message_is_encoded_once_however_many_members_it_goes_to() {
    let hub = Hub::new();
    let members: Vec<_> = (0..50).map(|_| attach(&hub)).collect();
    for (member, _) in &members {
        member.join("red").unwrap();
        member.join("blue").unwrap();
    }
    hub.to("red").also("blue").send("shared");
    hub.to_all().send("shared");
    let mut seen = [Vec::new(), Vec::new()];
    for (_, mut reader) in members {
        let (batch, _) = take(&mut reader);
        for (nth, outgoing) in batch.iter().enumerate() {
            let Outgoing::Prepared(message) = outgoing else {
                panic!("{outgoing:?}");
            };
            seen[nth].push(message.payload().as_ptr());
        }
    }
    for payloads in &seen {
        assert_eq!(payloads.len(), 50);
        assert!(payloads.iter().all(|payload| *payload == payloads[0]));
    }
    assert_ne!(seen[0][0], seen[1][0]);
}

#[test]
fn a_message_that_was_encoded_before_is_not_encoded_again() {
    let hub = Hub::new();
    let (ann, mut reader) = attach(&hub);
    ann.join("red").unwrap();
    let message = PreparedMessage::new(Message::binary(vec![1, 2, 3]));
    hub.to("red").send(message.clone());
    let (batch, _) = take(&mut reader);
    let (1, Some(Outgoing::Prepared(taken))) = (batch.len(), batch.iter().next()) else {
        panic!("{batch:?}");
    };
    assert_eq!(taken.payload().as_ptr(), message.payload().as_ptr());
    assert!(!taken.is_text());
}

#[test]
fn messages_that_are_sent_together_are_encoded_once_and_lie_together() {
    let hub = Hub::new();
    let (ann, mut to_ann) = attach(&hub);
    let (ben, mut to_ben) = attach(&hub);
    for member in [&ann, &ben] {
        member.join("red").unwrap();
        member.join("blue").unwrap();
    }
    let sent = hub.to("red").also("blue").send_all(["1", "2", "3"]);
    assert_eq!(counts(sent), [2, 0, 0, 0]);
    assert_eq!(counts(ann.to("red").send_all(["4", "5"])), [1, 0, 0, 1]);
    assert_eq!(counts(hub.to("red").send_all(["6"])), [2, 0, 0, 0]);
    assert_eq!(counts(hub.to("red").send_all([""; 0])), [0, 0, 0, 0]);
    let (taken, _) = take(&mut to_ann);
    let [Outgoing::Batch(first), Outgoing::Prepared(_)] = &taken.collect::<Vec<_>>()[..] else {
        panic!("one message needs no batch");
    };
    let (taken, _) = take(&mut to_ben);
    let Some(Outgoing::Batch(second)) = taken.iter().next() else {
        panic!("{taken:?}");
    };
    assert!(std::ptr::eq(first.messages(), second.messages()));
    let texts: Vec<_> = taken.iter().map(text).collect();
    assert_eq!(texts, ["1,2,3", "4,5", "6"]);
}

#[test]
fn a_member_that_has_no_room_for_all_of_several_messages_gets_none_of_them() {
    let hub = Hub::new();
    let (slow, mut to_slow) = attach_limited(&hub, OutboxLimits::default().max_bytes(3));
    slow.join("red").unwrap();
    hub.to("red").send("1");
    assert_eq!(
        counts(hub.to("red").send_all(["2", "3", "4"])),
        [0, 1, 0, 0]
    );
    let (batch, close) = take(&mut to_slow);
    assert!(batch.is_empty() && close.is_some());
    assert!(hub.rooms().is_empty());
}

/// B3, L3 (server).
#[test]
fn a_full_outbox_evicts_its_member_and_nobody_else() {
    let log = Log::default();
    let hub = Hub::with_hooks(log.clone());
    let (slow, mut to_slow) = attach_limited(&hub, OutboxLimits::default().max_messages(2));
    let (quick, mut to_quick) = attach(&hub);
    for member in [&slow, &quick] {
        member.join("red").unwrap();
    }
    slow.join("blue").unwrap();
    log.clear();

    for text in ["1", "2"] {
        assert_eq!(counts(hub.to("red").send(text)), [2, 0, 0, 0]);
    }
    assert_eq!(counts(hub.to("red").send("3")), [1, 1, 0, 0]);
    assert_eq!(counts(hub.to("red").send("4")), [1, 0, 0, 0]);

    assert_eq!(rooms(&hub), [("red".into(), 1)]);
    assert!(slow.is_detached() && slow.rooms().is_empty());
    assert!(hub.member(slow.id()).is_none());
    assert_eq!(slow.join("red"), Err(JoinError::Detached));
    assert_eq!(slow.join("new"), Err(JoinError::Detached));
    assert_eq!(rooms(&hub), [("red".into(), 1)]);
    assert!(!slow.leave("red"));

    let (batch, close) = take(&mut to_slow);
    assert!(batch.is_empty());
    assert_eq!(close.unwrap().unwrap().code, CloseCode::TRY_AGAIN_LATER);
    assert_eq!(texts(&mut to_quick), ["1", "2", "3", "4"]);

    let events = log.take();
    let id = slow.id();
    drop(slow);
    assert_eq!(log.take(), [""; 0], "the drop has nothing left to do");
    let red = format!("{id} left red: evicted");
    let blue = format!("{id} left blue: evicted");
    assert_eq!(events.len(), 3);
    assert!(events.contains(&red), "{events:?}");
    let at = events.iter().position(|line| *line == blue).unwrap();
    assert!(events[at..].contains(&"blue removed".to_owned()));
}

#[test]
fn a_full_outbox_evicts_on_a_send_to_one_member_too() {
    let hub = Hub::new();
    let limits = OutboxLimits::default().max_messages(1);
    let (ann, mut reader) = attach_limited(&hub, limits);
    hub.send_to(ann.id(), "1").unwrap();
    assert_eq!(hub.send_to(ann.id(), "2"), Err(SendToError::Evicted));
    assert_eq!(hub.send_to(ann.id(), "3"), Err(SendToError::Unknown));
    assert!(take(&mut reader).1.is_some());
}

#[test]
fn a_closed_connection_is_skipped_and_counted() {
    let hub = Hub::new();
    let (ann, reader) = attach(&hub);
    let (ben, mut to_ben) = attach(&hub);
    ann.join("red").unwrap();
    ben.join("red").unwrap();
    drop(reader);
    assert_eq!(counts(hub.to("red").send("1")), [1, 0, 1, 0]);
    assert_eq!(hub.send_to(ann.id(), "2"), Err(SendToError::Closed));
    assert_eq!(texts(&mut to_ben), ["1"]);
    assert_eq!(hub.room("red").len(), 2, "its task drops it");
}

#[test]
fn disconnecting_a_member_closes_after_what_is_queued_and_empties_its_seats() {
    let hub = Hub::new();
    let (ann, mut reader) = attach(&hub);
    ann.join("red").unwrap();
    hub.to("red").send("last words");
    let kicked = CloseFrame::new(CloseCode::POLICY_VIOLATION, "kicked");
    assert!(hub.disconnect(ann.id(), kicked.clone()));
    assert!(!hub.disconnect(ann.id(), None));
    assert!(hub.rooms().is_empty() && hub.is_empty());
    assert_eq!(hub.to("red").send("unheard").queued, 0);

    let (batch, close) = take(&mut reader);
    assert_eq!(batch.len(), 1);
    assert_eq!(close, Some(Some(kicked)));
}

#[test]
fn close_all_tells_every_connection() {
    let hub = Hub::new();
    let members: Vec<_> = (0..5).map(|_| attach(&hub)).collect();
    members[0].0.join("red").unwrap();
    let frame = CloseFrame::from(CloseCode::GOING_AWAY);
    assert_eq!(hub.close_all(frame.clone()), 5);
    assert_eq!(hub.close_all(frame.clone()), 0);
    assert!(hub.rooms().is_empty() && hub.is_empty());
    for (_member, mut reader) in members {
        assert_eq!(take(&mut reader).1, Some(Some(frame.clone())));
    }
}

#[test]
fn limits_refuse_a_join_and_leave_no_room_behind() {
    let config = HubConfig::default()
        .max_room_members(1)
        .max_member_rooms(2)
        .max_room_name(3);
    let hub = Hub::with_config(config);
    let (ann, _) = attach(&hub);
    let (ben, _) = attach(&hub);
    assert_eq!(ann.join("long"), Err(JoinError::NameTooLong));
    ann.join("abc").unwrap();
    ann.join("").unwrap();
    assert_eq!(ben.join("abc"), Err(JoinError::RoomFull));
    assert_eq!(ann.join("new"), Err(JoinError::TooManyRooms));
    assert!(ann.join("abc").unwrap().already, "no limit is in the way");
    assert_eq!(rooms(&hub), [("".into(), 1), ("abc".into(), 1)]);
    ann.leave("abc");
    ben.join("abc").unwrap();
}

#[test]
fn a_name_of_a_room_is_any_text_of_255_bytes() {
    let hub = Hub::new();
    let (ann, mut reader) = attach(&hub);
    let longest = "é".repeat(127) + "x";
    for name in ["", " ", "a.*.>", "{x}\r\n\0", &longest] {
        ann.join(name).unwrap();
        assert_eq!(hub.to(name).send(name).queued, 1, "{name:?}");
    }
    assert_eq!(ann.join(longest + "x"), Err(JoinError::NameTooLong));
    assert_eq!(texts(&mut reader).len(), 5);
}

#[test]
fn a_welcome_comes_before_anything_that_is_sent_to_the_room() {
    let hub = Hub::new();
    let (ann, mut to_ann) = attach(&hub);
    ann.join("red").unwrap();
    let (ben, mut to_ben) = attach(&hub);
    let (cat, _) = attach(&hub);

    let joined = ben
        .join_with("red", |others| {
            assert_eq!(
                others.iter().map(MemberInfo::id).collect::<Vec<_>>(),
                [ann.id()]
            );
            // All this is already the life of the room with Ben in it.
            assert_eq!(hub.room("red").len(), 2);
            assert_eq!(hub.to("red").send("live 1").queued, 2);
            assert_eq!(hub.to_rooms(["red", "blue"]).send("live 2").queued, 2);
            assert_eq!(hub.to("red").send_all(["3", "4"]).queued, 2);
            cat.join("red").unwrap();
            ["welcome 1", "welcome 2"]
        })
        .unwrap();
    assert_eq!((joined.created, joined.members), (false, 2));
    hub.to("red").send("live 5");

    assert_eq!(
        texts(&mut to_ben),
        [
            "welcome 1",
            "welcome 2",
            "live 1",
            "live 2",
            "3,4",
            "live 5"
        ]
    );
    assert_eq!(texts(&mut to_ann), ["live 1", "live 2", "3,4", "live 5"]);
}

#[test]
fn a_member_is_welcomed_once() {
    let hub = Hub::new();
    let (ann, mut reader) = attach(&hub);
    ann.join_with("red", |others| {
        assert!(others.is_empty());
        ["welcome"]
    })
    .unwrap();
    let again = ann.join_with("red", |_| -> [&str; 1] { panic!("called") });
    assert!(again.unwrap().already);
    assert_eq!(texts(&mut reader), ["welcome"]);
}

#[test]
fn a_panicking_welcome_leaves_the_room_as_it_was() {
    let hub = Hub::new();
    let (ann, mut reader) = attach(&hub);
    for created in [true, false] {
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            ann.join_with("red", |_| -> [&str; 1] { panic!("no welcome") })
        }));
        assert!(panicked.is_err());
        assert!(!hub.room("red").contains(ann.id()));
        assert_eq!(hub.rooms().is_empty(), created);
        let (ben, to_ben) = attach(&hub);
        ben.join("red").unwrap();
        std::mem::forget((ben, to_ben));
    }
    assert_eq!(hub.to("red").send("others").queued, 2);
    assert_eq!(texts(&mut reader), [""; 0]);
    assert!(!ann.join("red").unwrap().created);
    hub.to("red").send("now");
    assert_eq!(texts(&mut reader), ["now"]);
}

#[test]
fn a_welcome_that_does_not_fit_evicts_the_member() {
    let hub = Hub::new();
    let (ann, mut reader) = attach_limited(&hub, OutboxLimits::default().max_messages(1));
    let joined = ann.join_with("red", |_| ["1", "2"]);
    assert_eq!(joined, Err(JoinError::Detached));
    assert!(hub.rooms().is_empty());
    let (batch, close) = take(&mut reader);
    assert!(batch.is_empty() && close.is_some());
}

#[test]
fn what_is_held_back_behind_a_welcome_is_limited_like_the_outbox() {
    let hub = Hub::new();
    for limits in [
        OutboxLimits::default().max_messages(3),
        OutboxLimits::default().max_bytes(3),
    ] {
        let (ann, mut reader) = attach_limited(&hub, limits);
        let joined = ann.join_with("red", |_| {
            for _ in 0..3 {
                assert_eq!(counts(hub.to("red").send("x")), [1, 0, 0, 0]);
            }
            assert_eq!(counts(hub.to("red").send("x")), [0, 1, 0, 0]);
            assert!(hub.rooms().is_empty());
            ["welcome"]
        });
        assert_eq!(joined, Err(JoinError::Detached));
        assert!(take(&mut reader).1.is_some());

        // Together they are too much as well.
        let (ben, mut reader) = attach_limited(&hub, limits);
        let joined = ben.join_with("red", |_| {
            for _ in 0..3 {
                hub.to("red").send("x");
            }
            ["w"]
        });
        assert_eq!(joined, Err(JoinError::Detached));
        assert!(hub.rooms().is_empty() && take(&mut reader).1.is_some());
    }
}

#[test]
fn each_of_several_messages_that_are_held_back_behind_a_welcome_counts() {
    let hub = Hub::new();
    let (ann, mut reader) = attach_limited(&hub, OutboxLimits::default().max_messages(3));
    let joined = ann.join_with("red", |_| {
        assert_eq!(counts(hub.to("red").send_all(["", ""])), [1, 0, 0, 0]);
        assert_eq!(counts(hub.to("red").send_all(["", ""])), [0, 1, 0, 0]);
        [""; 0]
    });
    assert_eq!(joined, Err(JoinError::Detached));
    assert!(take(&mut reader).1.is_some());
}

#[test]
fn a_member_that_is_taken_out_while_it_is_welcomed_stays_out() {
    let hub = Hub::new();
    let (ann, _reader) = attach(&hub);
    let joined = ann.join_with("red", |_| {
        assert!(ann.leave("red"));
        ["welcome"]
    });
    assert!(joined.is_ok());
    assert!(hub.rooms().is_empty());
    let joined = ann.join_with("red", |_| {
        assert!(hub.disconnect(ann.id(), None));
        ["welcome"]
    });
    assert_eq!(joined, Err(JoinError::Detached));
    assert!(hub.rooms().is_empty() && hub.is_empty());
}

#[test]
fn hooks_tell_what_happened_in_its_order() {
    let log = Log::default();
    let hub = Hub::with_hooks(log.clone());
    let (ann, _) = attach(&hub);
    let (ben, _) = attach(&hub);
    ann.join("red").unwrap();
    ben.join("red").unwrap();
    ben.join("red").unwrap();
    ann.leave("red");
    let (a, b) = (ann.id(), ben.id());
    drop(ben);
    ann.join("red").unwrap();
    hub.disconnect(a, None);
    assert_eq!(
        log.take(),
        [
            "red created".to_owned(),
            format!("{a} joined red"),
            format!("{b} joined red"),
            format!("{a} left red: left"),
            format!("{b} left red: dropped"),
            "red removed".to_owned(),
            "red created".to_owned(),
            format!("{a} joined red"),
            format!("{a} left red: disconnected"),
            "red removed".to_owned(),
        ]
    );
}

#[test]
fn a_refused_join_calls_no_hook() {
    let log = Log::default();
    let config = HubConfig::default().max_member_rooms(0);
    let hub = Hub::with_config(config.hooks(log.clone()));
    let (ann, _) = attach(&hub);
    ann.join("red").unwrap_err();
    ann.join_with("red", |_| ["welcome"]).unwrap_err();
    drop(ann);
    assert_eq!(log.take(), [""; 0]);
}

#[test]
fn a_hook_may_call_the_hub() {
    #[derive(Clone, Default)]
    struct Announce {
        bot: Arc<OnceLock<Member>>,
        log: Log,
    }
    impl Hooks for Announce {
        fn joined(&self, hub: &Hub, member: &MemberInfo, room: &RoomName) {
            hub.to(room)
                .except(member.id())
                .send(format!("{} joined", member.id()));
            if let Some(bot) = self.bot.get()
                && bot.id() != member.id()
            {
                bot.join(room).unwrap();
                bot.join(format!("{room} 2")).unwrap();
                bot.leave(room);
            }
            self.log.joined(hub, member, room);
        }
        fn left(&self, hub: &Hub, member: &MemberInfo, room: &RoomName, reason: LeaveReason) {
            hub.to(room).send(format!("{} left", member.id()));
            self.log.left(hub, member, room, reason);
        }
    }
    let announce = Announce::default();
    let hub = Hub::with_hooks(announce.clone());
    let (bot, _) = attach(&hub);
    let (ann, mut to_ann) = attach(&hub);
    let (bot_id, ann_id) = (bot.id(), ann.id());
    assert!(announce.bot.set(bot).is_ok());

    ann.join("red").unwrap();
    assert_eq!(
        announce.log.take(),
        [
            format!("{ann_id} joined red"),
            format!("{bot_id} joined red"),
            format!("{bot_id} joined red 2"),
            format!("{bot_id} left red: left"),
        ]
    );
    assert_eq!(
        texts(&mut to_ann),
        [format!("{bot_id} joined"), format!("{bot_id} left")]
    );
    assert_eq!(rooms(&hub), [("red".into(), 1), ("red 2".into(), 1)]);
}

/// Panics when a member leaves, once each time it is told to.
#[derive(Clone, Default)]
struct Fails(Arc<AtomicBool>);

impl Hooks for Fails {
    fn left(&self, _: &Hub, _: &MemberInfo, _: &RoomName, _: LeaveReason) {
        assert!(!self.0.swap(false, Ordering::Relaxed), "as told");
    }
}

/// A second panic that left the drop of the member would end the process.
#[test]
fn a_hook_that_panics_while_a_handler_panics_leaves_the_first_panic_as_it_is() {
    let fails = Fails::default();
    let hub = Hub::with_hooks(fails.clone());
    fails.0.store(true, Ordering::Relaxed);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let (member, _reader) = attach(&hub);
        member.join("lobby").unwrap();
        panic!("in the handler");
    }));
    let panic = panicked.unwrap_err();
    assert_eq!(panic.downcast_ref(), Some(&"in the handler"));
    assert!(!fails.0.load(Ordering::Relaxed), "it was called");
    assert!(hub.is_empty() && hub.rooms().is_empty());
}

#[test]
fn a_panicking_hook_leaves_no_operation_half_done() {
    let fails = Fails::default();
    let hub = Hub::with_hooks(fails.clone());
    let slow = OutboxLimits::default().max_messages(1);
    let members: Vec<_> = (0..6).map(|_| attach_limited(&hub, slow)).collect();
    for (member, _) in &members {
        member.join("lobby").unwrap();
    }
    let run = |operation: &dyn Fn()| {
        fails.0.store(true, Ordering::Relaxed);
        let panicked = catch_unwind(AssertUnwindSafe(operation));
        assert!(panicked.is_err(), "it goes to who called");
    };
    for (member, _) in &members[..3] {
        member.outbox().try_send("fills it").unwrap();
    }
    run(&|| {
        hub.to("lobby").send("x");
    });
    assert_eq!(hub.len(), 3, "all who were slow are out");
    run(&|| {
        hub.close_all(None);
    });
    assert!(hub.is_empty() && hub.rooms().is_empty());
    assert!(
        members
            .iter()
            .all(|(member, _)| member.outbox().is_closed())
    );
}

#[test]
fn a_panicking_hook_silences_nothing_for_ever() {
    #[derive(Clone, Default)]
    struct Shaky(Log, Arc<Mutex<bool>>);
    impl Hooks for Shaky {
        fn room_created(&self, _: &Hub, _room: &RoomName) {
            let panics = std::mem::take(&mut *self.1.lock().unwrap());
            assert!(!panics, "as asked");
        }
        fn joined(&self, hub: &Hub, member: &MemberInfo, room: &RoomName) {
            self.0.joined(hub, member, room);
        }
        fn left(&self, hub: &Hub, member: &MemberInfo, room: &RoomName, reason: LeaveReason) {
            self.0.left(hub, member, room, reason);
        }
    }
    let shaky = Shaky(Log::default(), Arc::new(Mutex::new(true)));
    let hub = Hub::with_hooks(shaky.clone());
    let (ann, _) = attach(&hub);
    assert!(catch_unwind(AssertUnwindSafe(|| ann.join("red"))).is_err());
    assert!(hub.room("red").contains(ann.id()), "the join was done");
    ann.leave("red");
    let id = ann.id();
    assert_eq!(
        shaky.0.take(),
        [format!("{id} joined red"), format!("{id} left red: left")]
    );
}

#[test]
fn the_hub_is_used_from_any_thread() {
    fn any_thread<T: Send + Sync + 'static>() {}
    any_thread::<Hub>();
    any_thread::<Member>();
    any_thread::<MemberInfo>();
    any_thread::<Profile>();
    any_thread::<HubConfig>();
}

#[test]
fn debug_shows_no_message_and_no_data() {
    let hub = Hub::new();
    let (ann, _reader) = attach_as(&hub, "ann");
    ann.join("red").unwrap();
    assert_eq!(
        format!("{ann:?}"),
        r#"Member { id: MemberId(1), key: Some("ann"), rooms: ["red"], .. }"#
    );
    assert_eq!(format!("{hub:?}"), "Hub { members: 1, .. }");
    assert_eq!(
        format!("{:?}", hub.room("red")),
        r#"Room { name: "red", members: 1 }"#
    );
}

/// Writes down what the hooks are told.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn push(&self, line: String) {
        self.0.lock().unwrap().push(line);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    fn clear(&self) {
        self.take();
    }
}

impl Hooks for Log {
    fn joined(&self, _: &Hub, member: &MemberInfo, room: &RoomName) {
        self.push(format!("{} joined {room}", member.id()));
    }

    fn left(&self, _: &Hub, member: &MemberInfo, room: &RoomName, reason: LeaveReason) {
        self.push(format!("{} left {room}: {reason}", member.id()));
    }

    fn room_created(&self, _: &Hub, room: &RoomName) {
        self.push(format!("{room} created"));
    }

    fn room_removed(&self, _: &Hub, room: &RoomName) {
        self.push(format!("{room} removed"));
    }
}

fn attach(hub: &Hub) -> (Member, OutboxReader) {
    attach_limited(hub, OutboxLimits::default())
}

fn attach_limited(hub: &Hub, limits: OutboxLimits) -> (Member, OutboxReader) {
    let (outbox, reader) = outbox::channel(limits);
    (hub.attach(outbox), reader)
}

fn attach_as(hub: &Hub, key: &str) -> (Member, OutboxReader) {
    let (outbox, reader) = outbox::channel(OutboxLimits::default());
    (hub.attach_with(outbox, Profile::new().key(key)), reader)
}

fn rooms(hub: &Hub) -> Vec<(String, usize)> {
    let rooms = hub.rooms().into_iter();
    rooms
        .map(|room| (room.name.to_string(), room.members))
        .collect()
}

fn counts(report: Report) -> [usize; 4] {
    [
        report.queued,
        report.evicted,
        report.closed,
        report.excluded,
    ]
}

/// All that is in an outbox, and the order to close.
fn take(reader: &mut OutboxReader) -> (Batch, Option<Option<CloseFrame>>) {
    let mut batch = Batch::default();
    loop {
        let mut cx = Context::from_waker(Waker::noop());
        match reader.poll_take(&mut cx, usize::MAX, &mut batch) {
            Poll::Ready(Taken::Messages) => {}
            Poll::Ready(Taken::Close(frame)) => return (batch, Some(frame)),
            Poll::Pending => return (batch, None),
        }
    }
}

fn texts(reader: &mut OutboxReader) -> Vec<String> {
    let (batch, _) = take(reader);
    batch.iter().map(text).collect()
}
