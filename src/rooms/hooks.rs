//! What the application is told about rooms.

use std::collections::VecDeque;
use std::sync::Mutex;

use super::hub::Hub;
use super::member::MemberInfo;
use super::registry::lock;
use super::room::RoomName;

/// Called when members join and leave rooms, and when rooms come and go. All do nothing by default.
///
/// The calls come one at a time, and for one room in the order of what happened: `room_created`,
/// `joined`, …, `left`, `room_removed`, also when the room comes again.
///
/// A hook is called on the thread of some operation, with no lock held: it may call the hub, send,
/// and even make members join and leave; what it does so is told after it has returned. It is told what
/// happened, and by then more may have happened: ask the hub for how things are now. Usually the
/// call is made before the operation returns; while another thread is calling hooks, that thread
/// makes this call too, soon after.
///
/// A hook must be short: the thread is that of a connection, and all other calls wait. If it
/// panics, the panic goes to whoever called the operation, which was carried out, and the calls that
/// were to follow are made with the next operation. Where a thread panics already and drops a member,
/// it goes nowhere.
///
/// # Examples
///
/// ```
/// use wsroom::Hub;
/// use wsroom::rooms::{Hooks, LeaveReason, MemberInfo, RoomName};
///
/// struct Announce;
///
/// impl Hooks for Announce {
///     fn left(&self, hub: &Hub, member: &MemberInfo, room: &RoomName, reason: LeaveReason) {
///         hub.to(room).send(format!("{} has left: {reason}", member.id()));
///     }
/// }
///
/// let hub = Hub::with_hooks(Announce);
/// # drop(hub);
/// ```
pub trait Hooks: Send + Sync + 'static {
    /// A member has joined a room. Its welcome may not be queued yet, but will be before anything
    /// that is sent to the room from here.
    fn joined(&self, hub: &Hub, member: &MemberInfo, room: &RoomName) {
        let _ = (hub, member, room);
    }

    /// A member is no longer in a room.
    fn left(&self, hub: &Hub, member: &MemberInfo, room: &RoomName, reason: LeaveReason) {
        let _ = (hub, member, room, reason);
    }

    /// A room has come to be, by the join that is reported next.
    fn room_created(&self, hub: &Hub, room: &RoomName) {
        let _ = (hub, room);
    }

    /// A room is gone, by the leave that was reported before.
    fn room_removed(&self, hub: &Hub, room: &RoomName) {
        let _ = (hub, room);
    }
}

/// Why a member is no longer in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LeaveReason {
    /// It left, with [`Member::leave`](super::Member::leave) or
    /// [`leave_all`](super::Member::leave_all).
    Left,
    /// The [`Member`](super::Member) was dropped: usually, the connection is over.
    Dropped,
    /// Its outbox was full.
    Evicted,
    /// It was disconnected, with [`Hub::disconnect`](super::Hub::disconnect) or
    /// [`close_all`](super::Hub::close_all).
    Disconnected,
}

impl std::fmt::Display for LeaveReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Left => "left",
            Self::Dropped => "dropped",
            Self::Evicted => "evicted",
            Self::Disconnected => "disconnected",
        })
    }
}

/// Something to tell.
pub(super) enum Event {
    Created(RoomName),
    Joined(MemberInfo, RoomName),
    Left(MemberInfo, RoomName, LeaveReason),
    Removed(RoomName),
}

/// Events in the order in which they happened. They are put in under the lock of the room, and
/// told by one thread at a time after that lock was released.
#[derive(Default)]
pub(super) struct EventQueue {
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    events: VecDeque<Event>,
    /// A thread is calling hooks, and will go on until no event is left.
    running: bool,
}

impl EventQueue {
    pub(super) fn push(&self, event: Event) {
        lock(&self.queue).events.push_back(event);
    }

    /// Tells all events, unless another call does so already, here or up the stack.
    pub(super) fn run(&self, hooks: &dyn Hooks, hub: &Hub) {
        let Some(mut running) = Running::start(self) else {
            return;
        };
        while let Some(event) = running.next() {
            match event {
                Event::Created(room) => hooks.room_created(hub, &room),
                Event::Joined(member, room) => hooks.joined(hub, &member, &room),
                Event::Left(member, room, reason) => hooks.left(hub, &member, &room, reason),
                Event::Removed(room) => hooks.room_removed(hub, &room),
            }
        }
    }
}

/// The right to call hooks. It is given back also when one panics.
struct Running<'a> {
    queue: &'a EventQueue,
    done: bool,
}

impl<'a> Running<'a> {
    fn start(queue: &'a EventQueue) -> Option<Self> {
        let mut state = lock(&queue.queue);
        if state.running || state.events.is_empty() {
            return None;
        }
        state.running = true;
        Some(Self { queue, done: false })
    }

    /// The next event. That there is none and that nobody runs any more is one step, so that no
    /// event is left behind.
    fn next(&mut self) -> Option<Event> {
        let mut state = lock(&self.queue.queue);
        let event = state.events.pop_front();
        if event.is_none() {
            state.running = false;
            state.events = VecDeque::new();
            self.done = true;
        }
        event
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if !self.done {
            lock(&self.queue.queue).running = false;
        }
    }
}
