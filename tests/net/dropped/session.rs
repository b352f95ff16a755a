//! The futures of a session and its outbox.

use std::time::Duration;

use wsroom::net::SessionConfig;
use wsroom::outbox::OutboxLimits;
use wsroom::{CloseCode, CloseFrame, Session, WebSocket};

use super::super::binary;
use super::super::pipe::Chopped;
use super::cut;
use super::socket::{Take, ends, hear, speak, spoken};

/// Which end of a session is asked.
#[derive(Clone, Copy)]
pub(super) enum On {
    Session,
    Outbox,
}

/// A session that has room for one message in either direction, and its peer.
fn narrow(seed: u64) -> (Session, WebSocket<Chopped>) {
    let (near, far) = ends(seed);
    let config = SessionConfig::default()
        .outbox(OutboxLimits::default().max_messages(1))
        .inbox_messages(1);
    (Session::spawn_with(near, config), far)
}

pub(super) async fn send(on: On, polls: usize, seed: u64) -> bool {
    let (session, far) = narrow(seed);
    let hearing = tokio::spawn(hear(far));
    session.send(binary(2_000)).await.unwrap();
    session.send("fills it").await.unwrap();
    let sent = match on {
        On::Session => cut(polls, session.send("cut")).await,
        On::Outbox => cut(polls, session.outbox().send("cut")).await,
    };
    let is_done = sent.transpose().unwrap().is_some();
    session.send("after").await.unwrap();
    let info = session.close(CloseFrame::from(CloseCode::NORMAL)).await;
    assert!(info.unwrap().is_clean());
    let mut expected = vec!["2000 bytes", "fills it"];
    expected.extend(is_done.then_some("cut"));
    expected.push("after");
    assert_eq!(hearing.await.unwrap(), expected);
    is_done
}

pub(super) async fn flush(on: On, polls: usize, seed: u64) -> bool {
    let (session, far) = narrow(seed);
    let hearing = tokio::spawn(hear(far));
    session.send(binary(2_000)).await.unwrap();
    let flushed = match on {
        On::Session => cut(polls, session.flush()).await,
        On::Outbox => cut(polls, session.outbox().flush()).await,
    };
    let is_done = flushed.transpose().unwrap().is_some();
    session.send("after").await.unwrap();
    session.flush().await.unwrap();
    assert!(session.close(None).await.unwrap().is_clean());
    assert_eq!(hearing.await.unwrap(), ["2000 bytes", "after"]);
    is_done
}

pub(super) async fn close(polls: usize, seed: u64) -> bool {
    let (session, far) = narrow(seed);
    let hearing = tokio::spawn(hear(far));
    session.send(binary(2_000)).await.unwrap();
    let closed = cut(polls, session.close(CloseFrame::from(CloseCode::NORMAL))).await;
    let is_done = closed.is_some();
    let has_begun = polls > 0;
    assert_eq!(session.send("after").await.is_err(), has_begun);
    let info = session.close(CloseFrame::from(CloseCode::NORMAL)).await;
    assert!(info.unwrap().is_clean());
    let after = (!has_begun).then_some("after");
    let expected: Vec<_> = ["2000 bytes"].into_iter().chain(after).collect();
    assert_eq!(hearing.await.unwrap(), expected);
    is_done
}

pub(super) async fn closed(on: On, polls: usize, seed: u64) -> bool {
    let (session, mut far) = narrow(seed);
    let closing = tokio::spawn(async move { far.close(CloseCode::new(4000)).await.unwrap() });
    let ended = match on {
        On::Session => cut(polls, session.closed()).await,
        On::Outbox => cut(polls, session.outbox().closed()).await,
    };
    let info = session.closed().await.unwrap();
    assert_eq!((info.is_clean(), info.code()), (true, CloseCode::new(4000)));
    assert!(ended.as_ref().is_none_or(|ended| *ended == Some(info)));
    assert!(closing.await.unwrap().is_clean());
    ended.is_some()
}

pub(super) async fn inbox(take: Take, polls: usize, seed: u64) -> bool {
    let (mut session, far) = narrow(seed);
    let speaking = tokio::spawn(speak(far));
    let mut got = Vec::new();
    let taken = match take {
        Take::RecvTimeout => cut(polls, session.recv_timeout(Duration::from_secs(60))).await,
        _ => cut(polls, session.recv()).await,
    };
    let is_done = taken.is_some();
    got.extend(taken.transpose().unwrap().flatten());
    while let Some(message) = session.recv().await.unwrap() {
        got.push(message);
    }
    assert_eq!(got, spoken());
    assert!(speaking.await.unwrap().is_clean());
    is_done
}

pub(super) async fn inbox_many(polls: usize, seed: u64) -> bool {
    let (mut session, far) = narrow(seed);
    let speaking = tokio::spawn(speak(far));
    let mut got = Vec::new();
    let taken = cut(polls, session.recv_many(&mut got, 2)).await;
    assert_eq!(
        got.len(),
        taken.as_ref().map_or(0, |count| *count.as_ref().unwrap())
    );
    while session.recv_many(&mut got, 2).await.unwrap() > 0 {}
    assert_eq!(got, spoken());
    assert!(speaking.await.unwrap().is_clean());
    taken.is_some()
}
