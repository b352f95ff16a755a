//! The outbox: limits, order, completion, eviction, closing, wake-ups, cancellation.

#![cfg(any(feature = "tokio", feature = "rooms"))]

mod common {
    pub(crate) mod outgoing;
}

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Buf;
use common::outgoing::text;
use wsroom::outbox::{
    self, Batch, Outbox, OutboxClosed, OutboxLimits, OutboxReader, Outgoing, Taken, TrySendError,
};
use wsroom::protocol::PreparedBatch;
use wsroom::{
    Agreed, CloseCause, CloseCode, CloseFrame, CloseInfo, Config, Connection, PreparedMessage, Role,
};

/// L3, O14.
#[test]
fn at_most_so_many_messages_wait() {
    let (outbox, mut reader) = outbox::channel(OutboxLimits::default().max_messages(2));
    assert_eq!(outbox.try_send(""), Ok(()));
    assert_eq!(outbox.try_send(""), Ok(()));
    assert_eq!(outbox.try_send(""), Err(TrySendError::Full));
    assert_eq!(outbox.queued(), (2, 0));
    assert_eq!(
        take(&mut reader, 1),
        ["", ""],
        "an empty one costs no budget"
    );
    assert_eq!(outbox.try_send("again"), Ok(()));
}

/// L3, O14.
#[test]
fn at_most_so_many_bytes_wait() {
    let (outbox, mut reader) = outbox::channel(OutboxLimits::default().max_bytes(5));
    assert_eq!(outbox.try_send("123"), Ok(()));
    assert_eq!(outbox.try_send("456"), Err(TrySendError::Full));
    assert_eq!(outbox.try_send("45"), Ok(()));
    assert_eq!(outbox.try_send("6"), Err(TrySendError::Full));
    assert_eq!(outbox.try_send(""), Ok(()), "no byte, no limit");
    assert_eq!(outbox.queued(), (3, 5));
    assert_eq!(take(&mut reader, 1), ["123"]);
    assert_eq!(outbox.queued(), (2, 2));
    assert_eq!(outbox.try_send("789"), Ok(()));
}

#[test]
fn a_message_above_the_limit_is_taken_if_nothing_else_waits() {
    let (outbox, mut reader) = outbox::channel(OutboxLimits::default().max_bytes(5));
    assert_eq!(outbox.try_send("1234567"), Ok(()));
    assert_eq!(outbox.try_send("x"), Err(TrySendError::Full));
    assert_eq!(outbox.queued(), (1, 7));
    assert_eq!(take(&mut reader, 1), ["1234567"]);
    assert_eq!(outbox.queued(), (0, 0));
    assert_eq!(outbox.try_send("x"), Ok(()));
    assert_eq!(outbox.try_send("1234567"), Err(TrySendError::Full));
}

#[test]
fn a_batch_ends_when_its_budget_is_used_up_and_has_one_message_at_least() {
    let (outbox, mut reader) = outbox::channel(OutboxLimits::default());
    for text in ["aa", "bb", "cc", "dd"] {
        outbox.try_send(text).unwrap();
    }
    assert_eq!(take(&mut reader, 3), ["aa", "bb"]);
    assert_eq!(take(&mut reader, 0), ["cc"]);
    assert_eq!(reader.taken(), 3);
    assert_eq!(take(&mut reader, usize::MAX), ["dd"]);
}

#[test]
fn a_prepared_message_is_queued_without_a_copy() {
    let (outbox, mut reader) = outbox::channel(OutboxLimits::default());
    let message = PreparedMessage::new("shared");
    outbox.try_send(&message).unwrap();
    let mut batch = Batch::default();
    let mut cx = Context::from_waker(Waker::noop());
    assert!(reader.poll_take(&mut cx, 1, &mut batch).is_ready());
    let (1, Some(Outgoing::Prepared(taken))) = (batch.len(), batch.iter().next()) else {
        panic!("{batch:?}");
    };
    assert_eq!(taken.payload().as_ptr(), message.payload().as_ptr());
}

#[test]
fn each_message_of_a_prepared_batch_counts_and_is_sent() {
    let limits = OutboxLimits::default().max_messages(3).max_bytes(8);
    let (outbox, mut reader) = outbox::channel(limits);
    let batch = PreparedBatch::new(["one", "two"]);
    outbox.try_send(&batch).unwrap();
    assert_eq!(outbox.queued(), (2, 6));
    assert_eq!(outbox.try_send(&batch), Err(TrySendError::Full));
    let empty = PreparedBatch::new(["", ""]);
    assert_eq!(outbox.try_send(&empty), Err(TrySendError::Full));
    outbox.try_send("3").unwrap();
    assert_eq!(outbox.try_send(""), Err(TrySendError::Full));

    let mut taken = Batch::default();
    let mut cx = Context::from_waker(Waker::noop());
    assert!(reader.poll_take(&mut cx, usize::MAX, &mut taken).is_ready());
    let mut connection = Connection::new(Role::Server, Agreed::default(), Config::default());
    for outgoing in taken {
        outgoing.send(&mut connection).unwrap();
    }
    let output = connection.output();
    assert_eq!(output.chunk(), b"\x81\x03one\x81\x03two\x81\x013");
    assert_eq!((reader.taken(), outbox.queued()), (3, (0, 0)));

    // More than the limits, and nothing else waits.
    outbox.try_send(PreparedBatch::new([""; 4])).unwrap();
    assert_eq!(outbox.queued(), (4, 0));
    assert_eq!(outbox.try_send(""), Err(TrySendError::Full));
    assert_eq!(take(&mut reader, 0), [",,,"]);
    assert_eq!(reader.taken(), 7);
    outbox.try_send(&empty).unwrap();
    outbox.evict(None);
    assert_eq!(outbox.queued(), (0, 0));
}

/// O14.
#[test]
fn send_waits_for_room_and_goes_on_in_order() {
    let (outbox, mut reader) = outbox::channel(OutboxLimits::default().max_messages(1));
    outbox.try_send("1").unwrap();
    let mut second = Task::new(async {
        outbox.send("2").await?;
        outbox.send("3").await
    });
    assert_eq!(second.poll(), Poll::Pending);
    assert_eq!(outbox.queued().0, 1);

    assert_eq!(take(&mut reader, 1), ["1"]);
    assert_eq!(second.wakes(), 1);
    assert_eq!(second.poll(), Poll::Pending, "2 is in, 3 has no room");
    assert_eq!(take(&mut reader, 1), ["2"]);
    assert_eq!(second.poll(), Poll::Ready(Ok(())));
    assert_eq!(take(&mut reader, 1), ["3"]);
}

#[test]
fn flush_resolves_when_what_was_put_in_before_was_written_and_not_earlier() {
    let (outbox, mut reader) = outbox::channel(OutboxLimits::default());
    outbox.try_send("1").unwrap();
    let mut second = Task::new(send_and_flush(&outbox, "2"));
    let mut third = Task::new(send_and_flush(&outbox, "3"));
    assert!(second.poll().is_pending() && third.poll().is_pending());
    assert_eq!(take(&mut reader, usize::MAX), ["1", "2", "3"]);
    assert!(second.poll().is_pending());
    reader.written(1);
    assert!(second.poll().is_pending());
    reader.written(2);
    assert_eq!(second.poll(), Poll::Ready(Ok(())));
    assert!(third.poll().is_pending());
    reader.written(3);
    assert_eq!(third.poll(), Poll::Ready(Ok(())));
}

#[test]
fn flush_succeeds_if_all_was_written_before_the_end() {
    let (outbox, mut reader) = outbox::channel(OutboxLimits::default());
    let mut first = Task::new(send_and_flush(&outbox, "1"));
    let mut second = Task::new(send_and_flush(&outbox, "2"));
    assert!(first.poll().is_pending() && second.poll().is_pending());
    take(&mut reader, 1);
    reader.written(1);
    drop(reader);
    assert_eq!(first.poll(), Poll::Ready(Ok(())));
    assert_eq!(second.poll(), Poll::Ready(Err(OutboxClosed)));
}

#[test]
fn evict_drops_what_is_queued_and_tells_its_senders() {
    let (outbox, mut reader) = outbox::channel(OutboxLimits::default().max_messages(3));
    let mut taken = Task::new(send_and_flush(&outbox, "taken"));
    assert!(taken.poll().is_pending());
    take(&mut reader, usize::MAX);
    let mut queued = Task::new(send_and_flush(&outbox, "queued"));
    assert!(queued.poll().is_pending());
    outbox.try_send("").unwrap();
    outbox.try_send("").unwrap();
    let mut waiting = Task::new(outbox.send("waiting"));
    assert!(waiting.poll().is_pending());

    assert!(outbox.evict(CloseFrame::from(CloseCode::TRY_AGAIN_LATER)));
    assert_eq!(queued.poll(), Poll::Ready(Err(OutboxClosed)));
    assert_eq!(waiting.poll(), Poll::Ready(Err(OutboxClosed)));
    assert_eq!(outbox.queued(), (0, 0));
    assert_eq!(outbox.try_send("late"), Err(TrySendError::Closed));

    assert!(taken.poll().is_pending(), "it may still be written");
    reader.written(1);
    assert_eq!(taken.poll(), Poll::Ready(Ok(())));
    assert_eq!(order(&mut reader), Some(Some(CloseCode::TRY_AGAIN_LATER)));
    assert_eq!(order(&mut reader), None);
}

#[test]
fn evict_overtakes_a_close_that_was_not_carried_out() {
    let (outbox, mut reader) = outbox::channel(OutboxLimits::default());
    outbox.try_send("stuck").unwrap();
    outbox.close(CloseFrame::from(CloseCode::NORMAL));
    assert!(!outbox.evict(CloseFrame::from(CloseCode::TRY_AGAIN_LATER)));
    assert_eq!(order(&mut reader), Some(Some(CloseCode::TRY_AGAIN_LATER)));
    assert!(!outbox.evict(CloseFrame::from(CloseCode::NORMAL)));
    assert_eq!(order(&mut reader), None);
}

#[test]
fn a_close_comes_after_what_is_queued_and_nothing_comes_after_it() {
    let (outbox, mut reader) = outbox::channel(OutboxLimits::default().max_messages(1));
    let mut sent = Task::new(send_and_flush(&outbox, "last"));
    let mut waiting = Task::new(outbox.send("too late"));
    assert!(sent.poll().is_pending() && waiting.poll().is_pending());
    assert!(!outbox.is_closed());
    outbox.close(CloseFrame::from(CloseCode::NORMAL));
    assert!(outbox.is_closed());
    assert_eq!(waiting.poll(), Poll::Ready(Err(OutboxClosed)));
    assert_eq!(outbox.try_send("too late"), Err(TrySendError::Closed));

    assert!(sent.poll().is_pending());
    assert_eq!(take(&mut reader, usize::MAX), ["last"]);
    reader.written(1);
    assert_eq!(sent.poll(), Poll::Ready(Ok(())));
    assert_eq!(order(&mut reader), Some(Some(CloseCode::NORMAL)));
}

#[test]
fn only_the_first_order_to_close_counts() {
    let (outbox, mut reader) = outbox::channel(OutboxLimits::default());
    outbox.close(None);
    outbox.close(CloseFrame::from(CloseCode::GOING_AWAY));
    assert_eq!(order(&mut reader), Some(None));
    outbox.close(CloseFrame::from(CloseCode::GOING_AWAY));
    assert_eq!(order(&mut reader), None);
}

#[test]
fn closed_tells_all_who_wait_and_all_who_ask_later() {
    let (outbox, mut reader) = outbox::channel(OutboxLimits::default());
    let clone = outbox.clone();
    assert!(clone.is_same(&outbox));
    let mut first = Task::new(outbox.closed());
    let mut second = Task::new(clone.closed());
    assert!(first.poll().is_pending() && second.poll().is_pending());
    outbox.close(None);
    assert!(first.poll().is_pending(), "told to close is not closed");
    assert_eq!(outbox.close_info(), None);

    let info = CloseInfo {
        cause: CloseCause::ConnectionLost,
        sent: None,
        received: None,
    };
    reader.finish(info.clone());
    drop(reader);
    assert_eq!(first.poll(), Poll::Ready(Some(info.clone())));
    assert_eq!(second.poll(), Poll::Ready(Some(info.clone())));
    assert_eq!(
        Task::new(clone.closed()).poll(),
        Poll::Ready(Some(info.clone()))
    );
    assert_eq!(outbox.close_info(), Some(info));
}

#[test]
fn a_dropped_reader_closes_the_outbox_and_frees_what_waits() {
    let (outbox, reader) = outbox::channel(OutboxLimits::default().max_messages(1));
    let mut sent = Task::new(send_and_flush(&outbox, "lost"));
    let mut waiting = Task::new(outbox.send("lost"));
    let mut closed = Task::new(outbox.closed());
    assert!(sent.poll().is_pending() && waiting.poll().is_pending());
    assert!(closed.poll().is_pending());
    drop(reader);
    assert_eq!(sent.poll(), Poll::Ready(Err(OutboxClosed)));
    assert_eq!(waiting.poll(), Poll::Ready(Err(OutboxClosed)));
    assert_eq!(closed.poll(), Poll::Ready(None));
    assert_eq!(outbox.queued(), (0, 0));
    assert!(outbox.is_closed());
    assert_eq!(outbox.try_send("late"), Err(TrySendError::Closed));
    outbox.close(None);
    assert!(!outbox.evict(None));
}

#[test]
fn a_dropped_future_leaves_nothing_behind() {
    let (outbox, mut reader) = outbox::channel(OutboxLimits::default().max_messages(1));
    let mut sent = Task::new(send_and_flush(&outbox, "sent"));
    let mut waiting = Task::new(outbox.send("never in"));
    let mut closed = Task::new(outbox.closed());
    let mut other = Task::new(outbox.send("other"));
    assert!(sent.poll().is_pending() && waiting.poll().is_pending());
    assert!(closed.poll().is_pending() && other.poll().is_pending());
    let wakers = [&sent.flag, &waiting.flag, &closed.flag].map(Arc::downgrade);
    drop((sent, waiting, closed));
    for waker in wakers {
        assert!(waker.upgrade().is_none(), "its waker is still held");
    }
    assert_eq!(take(&mut reader, usize::MAX), ["sent"]);
    assert_eq!(other.poll(), Poll::Ready(Ok(())));
    assert_eq!(take(&mut reader, usize::MAX), ["other"]);
}

#[test]
fn a_future_that_was_woken_and_dropped_does_not_keep_the_room() {
    let (outbox, mut reader) = outbox::channel(OutboxLimits::default().max_messages(1));
    outbox.try_send("1").unwrap();
    let mut first = Task::new(outbox.send("first"));
    let mut second = Task::new(outbox.send("second"));
    assert!(first.poll().is_pending() && second.poll().is_pending());
    take(&mut reader, usize::MAX);
    drop(first);
    assert_eq!(second.wakes(), 1);
    assert_eq!(second.poll(), Poll::Ready(Ok(())));
    assert_eq!(take(&mut reader, usize::MAX), ["second"]);
}

#[test]
fn the_reader_is_woken_only_when_the_outbox_was_empty() {
    let (outbox, mut reader) = outbox::channel(OutboxLimits::default());
    let flag = Arc::new(Flag::default());
    let waker = Waker::from(Arc::clone(&flag));
    let mut cx = Context::from_waker(&waker);
    let mut batch = Batch::default();
    assert!(reader.poll_take(&mut cx, 1, &mut batch).is_pending());
    assert!(reader.poll_take(&mut cx, 1, &mut batch).is_pending());
    outbox.try_send("1").unwrap();
    outbox.try_send("2").unwrap();
    let mut third = Task::new(outbox.send("3"));
    assert!(third.poll().is_ready());
    assert_eq!(flag.wakes(), 1);

    assert!(reader.poll_take(&mut cx, 1, &mut batch).is_ready());
    outbox.try_send("4").unwrap();
    assert_eq!(flag.wakes(), 1, "it did not wait");
    while reader.poll_take(&mut cx, 1, &mut batch).is_ready() {}
    outbox.close(None);
    outbox.close(None);
    assert_eq!(flag.wakes(), 2);
    assert_eq!(batch.len(), 4);
}

/// A connection that has no room is woken by an order to close, and for nothing else.
#[test]
fn a_reader_that_is_behind_is_woken_by_an_order_to_close_only() {
    let closes: [fn(&Outbox); 2] = [
        |outbox| outbox.close(None),
        |outbox| {
            outbox.evict(None);
        },
    ];
    for close in closes {
        let (outbox, mut reader) = outbox::channel(OutboxLimits::default());
        let flag = Arc::new(Flag::default());
        let waker = Waker::from(Arc::clone(&flag));
        let mut cx = Context::from_waker(&waker);
        assert!(reader.poll_closing(&mut cx).is_pending());
        outbox.try_send("1").unwrap();
        assert!(Task::new(outbox.send("2")).poll().is_ready());
        assert_eq!(flag.wakes(), 0);

        close(&outbox);
        assert_eq!(flag.wakes(), 1);
        assert!(reader.poll_closing(&mut cx).is_ready());
    }
}

#[test]
fn the_reader_is_woken_by_its_last_waker() {
    let (outbox, mut reader) = outbox::channel(OutboxLimits::default());
    let flags = [Arc::new(Flag::default()), Arc::new(Flag::default())];
    for flag in &flags {
        let waker = Waker::from(Arc::clone(flag));
        let mut cx = Context::from_waker(&waker);
        assert!(
            reader
                .poll_take(&mut cx, 1, &mut Batch::default())
                .is_pending()
        );
    }
    outbox.try_send("1").unwrap();
    assert_eq!((flags[0].wakes(), flags[1].wakes()), (0, 1));
}

#[test]
fn an_outbox_does_not_keep_the_task_of_a_connection_that_is_over() {
    let (outbox, mut reader) = outbox::channel(OutboxLimits::default());
    let flag = Arc::new(Flag::default());
    let waker = Waker::from(Arc::clone(&flag));
    let mut cx = Context::from_waker(&waker);
    assert!(
        reader
            .poll_take(&mut cx, 1, &mut Batch::default())
            .is_pending()
    );
    drop((waker, reader));
    assert_eq!(Arc::strong_count(&flag), 1);
    assert!(outbox.is_closed());
}

#[test]
fn debug_shows_lengths_only() {
    let (outbox, reader) = outbox::channel(OutboxLimits::default());
    outbox.try_send("secret").unwrap();
    assert_eq!(
        format!("{outbox:?}"),
        "Outbox { messages: 1, bytes: 6, .. }"
    );
    assert_eq!(format!("{reader:?}"), "OutboxReader { .. }");
}

/// A future that is polled by hand, and counts how often it was woken.
struct Task<F> {
    future: Pin<Box<F>>,
    flag: Arc<Flag>,
}

impl<F: Future> Task<F> {
    fn new(future: F) -> Self {
        Self {
            future: Box::pin(future),
            flag: Arc::default(),
        }
    }

    fn poll(&mut self) -> Poll<F::Output> {
        let waker = Waker::from(Arc::clone(&self.flag));
        pin!(&mut self.future).poll(&mut Context::from_waker(&waker))
    }

    fn wakes(&self) -> usize {
        self.flag.wakes()
    }
}

#[derive(Default)]
struct Flag(AtomicUsize);

impl Flag {
    fn wakes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

async fn send_and_flush(outbox: &Outbox, text: &'static str) -> Result<(), OutboxClosed> {
    outbox.send(text).await?;
    outbox.flush().await
}

fn take(reader: &mut OutboxReader, budget: usize) -> Vec<String> {
    let mut batch = Batch::default();
    let mut cx = Context::from_waker(Waker::noop());
    let taken = reader.poll_take(&mut cx, budget, &mut batch);
    assert_eq!(taken, Poll::Ready(Taken::Messages));
    batch.iter().map(text).collect()
}

/// The order to close, if that is what is next.
fn order(reader: &mut OutboxReader) -> Option<Option<CloseCode>> {
    let mut batch = Batch::default();
    let mut cx = Context::from_waker(Waker::noop());
    match reader.poll_take(&mut cx, 1, &mut batch) {
        Poll::Ready(Taken::Close(frame)) => Some(frame.map(|frame| frame.code)),
        Poll::Ready(Taken::Messages) => panic!("{batch:?}"),
        Poll::Pending => None,
    }
}
