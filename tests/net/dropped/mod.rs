//! Every public future, dropped at every await point: before it is polled, after one poll, after
//! two, and so on until it is done, over streams that cut and pause. What it was called on is used
//! again afterwards: nothing is lost, doubled, torn or stuck. What owned a stream has dropped it,
//! which its peer sees.
//!
//! `cancel.rs` drops them one after another at random.

mod opening;
mod session;
mod socket;
mod sources;
mod tcp;

use std::collections::BTreeSet;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::timeout;

use opening::{Answer, answering, offering};
use session::{On, close, closed, flush, inbox, inbox_many, send};
use socket::{Put, Take, answered, sending, taking};
use sources::{public_futures, sources};
use tcp::{arriving, binding, connecting, serving};

/// A future polled so often at most, then dropped, over streams cut by a seed. Says whether it was
/// done.
type Case = fn(usize, u64) -> Run;

type Run = Pin<Box<dyn Future<Output = bool>>>;

fn boxed(run: impl Future<Output = bool> + 'static) -> Run {
    Box::pin(run)
}

/// A case of each future over streams in memory.
const IN_MEMORY: [(&str, Case); 34] = [
    ("outbox::closed", |n, s| boxed(closed(On::Outbox, n, s))),
    ("outbox::flush", |n, s| boxed(flush(On::Outbox, n, s))),
    ("outbox::send", |n, s| boxed(send(On::Outbox, n, s))),
    ("client::connect_over", |n, s| boxed(offering(n, s))),
    ("server::accept", |n, s| {
        boxed(answering(Answer::Accept, n, s))
    }),
    ("server::accept", |n, s| {
        boxed(answering(Answer::IncomingAccept, n, s))
    }),
    ("server::accept_with", |n, s| {
        boxed(answering(Answer::AcceptWith, n, s))
    }),
    ("server::read", |n, s| {
        boxed(answering(Answer::IncomingRead, n, s))
    }),
    ("server::reject", |n, s| {
        boxed(answering(Answer::IncomingReject, n, s))
    }),
    ("session::close", |n, s| boxed(close(n, s))),
    ("session::closed", |n, s| boxed(closed(On::Session, n, s))),
    ("session::flush", |n, s| boxed(flush(On::Session, n, s))),
    ("session::recv", |n, s| boxed(inbox(Take::Recv, n, s))),
    ("session::recv_many", |n, s| boxed(inbox_many(n, s))),
    ("session::recv_timeout", |n, s| {
        boxed(inbox(Take::RecvTimeout, n, s))
    }),
    ("session::send", |n, s| boxed(send(On::Session, n, s))),
    ("websocket::close", |n, s| boxed(sending(Put::Close, n, s))),
    ("websocket::feed", |n, s| boxed(sending(Put::Feed, n, s))),
    ("websocket::feed_binary", |n, s| {
        boxed(sending(Put::Binary, n, s))
    }),
    ("websocket::feed_fragment", |n, s| {
        boxed(sending(Put::Fragment, n, s))
    }),
    ("websocket::feed_batch", |n, s| {
        boxed(sending(Put::Batch, n, s))
    }),
    ("websocket::feed_prepared", |n, s| {
        boxed(sending(Put::Prepared, n, s))
    }),
    ("websocket::feed_text", |n, s| {
        boxed(sending(Put::Text, n, s))
    }),
    ("websocket::flush", |n, s| boxed(sending(Put::Flush, n, s))),
    ("websocket::ping", |n, s| boxed(sending(Put::Ping, n, s))),
    ("websocket::recv", |n, s| boxed(taking(Take::Recv, 0, n, s))),
    ("websocket::recv", |n, s| boxed(taking(Take::Recv, 2, n, s))),
    ("websocket::recv_each", |n, s| boxed(answered(n, s))),
    ("websocket::recv_event", |n, s| {
        boxed(taking(Take::RecvEvent, 2, n, s))
    }),
    ("websocket::recv_fragment", |n, s| {
        boxed(taking(Take::RecvFragment, 0, n, s))
    }),
    ("websocket::recv_fragment", |n, s| {
        boxed(taking(Take::RecvFragment, 3, n, s))
    }),
    ("websocket::recv_timeout", |n, s| {
        boxed(taking(Take::RecvTimeout, 1, n, s))
    }),
    ("websocket::recv_with", |n, s| {
        boxed(taking(Take::RecvWith, 2, n, s))
    }),
    ("websocket::send", |n, s| boxed(sending(Put::Send, n, s))),
];

/// A case of each future that has a socket of the system.
const OVER_TCP: [(&str, Case); 8] = [
    ("client::connect", |n, _| boxed(connecting(false, n))),
    ("client::connect_with", |n, _| boxed(connecting(true, n))),
    ("listener::accept", |n, _| {
        boxed(arriving(Answer::Accept, n))
    }),
    ("listener::accept_with", |n, _| {
        boxed(arriving(Answer::AcceptWith, n))
    }),
    ("listener::bind", |n, _| boxed(binding(n))),
    ("listener::reject", |n, _| {
        boxed(arriving(Answer::IncomingReject, n))
    }),
    ("listener::serve", |n, _| boxed(serving(false, n))),
    ("listener::serve_until", |n, _| boxed(serving(true, n))),
];

/// Those of other features, and where they are dropped.
const ELSEWHERE: [&str; 1] = [
    // tests/hyper.rs
    "hyper::Upgrading",
];

/// A new public future needs a case, and has to say what a dropped call leaves behind.
#[test]
fn every_public_future_has_a_case_and_says_what_a_dropped_call_leaves_behind() {
    let mut found = BTreeSet::new();
    let mut unsaid = Vec::new();
    for (module, text) in sources() {
        for future in public_futures(&text) {
            let name = format!("{module}::{}", future.name);
            if !future.docs.contains("# Cancel safety") {
                unsaid.push(name.clone());
            }
            found.insert(name);
        }
    }
    let cases = IN_MEMORY.iter().chain(&OVER_TCP).map(|(name, _)| *name);
    let cases: BTreeSet<_> = cases.chain(ELSEWHERE).map(String::from).collect();
    assert_eq!(found, cases);
    assert_eq!(unsaid, [""; 0], "no section `Cancel safety`");
}

#[tokio::test(start_paused = true)]
async fn a_future_over_a_stream_may_be_dropped_at_every_await_point() {
    let mut points = 0;
    for (name, case) in IN_MEMORY {
        for seed in 0..12 {
            points += until_done(name, case, seed).await;
        }
    }
    assert!(points > 3_000, "{points}");
}

#[tokio::test]
async fn a_future_with_a_socket_may_be_dropped_at_every_await_point() {
    for (name, case) in OVER_TCP {
        until_done(name, case, 0).await;
    }
}

/// Drops the future of a case one poll later each time, until it is done; gives how often.
async fn until_done(name: &str, case: Case, seed: u64) -> usize {
    for polls in 0..1_000 {
        let run = timeout(Duration::from_secs(1_000), case(polls, seed));
        let run = Named {
            run: Box::pin(run),
            name,
            polls,
            seed,
        };
        match run.await {
            Ok(true) => return polls,
            Ok(false) => {}
            Err(_) => panic!("{name} is stuck: seed {seed}, dropped after {polls} polls"),
        }
    }
    panic!("{name} is never done: seed {seed}");
}

/// Says which case it is if it panics.
struct Named<'a, F> {
    run: Pin<Box<F>>,
    name: &'a str,
    polls: usize,
    seed: u64,
}

impl<F: Future> Future for Named<'_, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.run.as_mut().poll(cx)
    }
}

impl<F> Drop for Named<'_, F> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self {
                name, polls, seed, ..
            } = self;
            eprintln!("{name}, dropped after {polls} polls, seed {seed}");
        }
    }
}

/// Polls a future so often at most, then drops it.
async fn cut<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}
