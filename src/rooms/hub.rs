//! The hub: members, rooms, and what is sent to them.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;

use crate::close::CloseFrame;
use crate::limits::{Bound, InForce};
use crate::outbox::{Outbox, Outgoing, TrySendError};

use super::broadcast::{Broadcast, evict};
use super::hooks::{Hooks, LeaveReason};
use super::member::{Member, MemberId, MemberInfo, Profile};
use super::registry::{MemberState, Registry};
use super::room::{Room, RoomInfo};

/// Members and rooms. Clones are the same hub, and cost a reference count.
///
/// Every operation is a plain function that can be called from anywhere: a connection's task, an
/// HTTP handler, a timer, a thread without a runtime. See the [module](super) for what is promised.
///
/// # Examples
///
/// ```
/// use wsroom::outbox::{self, OutboxLimits};
/// use wsroom::Hub;
///
/// let hub = Hub::new();
/// let (outbox, _reader) = outbox::channel(OutboxLimits::default());
/// let member = hub.attach(outbox);
/// member.join("lobby")?;
///
/// let report = hub.to("lobby").send("hello");
/// assert_eq!(report.queued, 1);
/// # Ok::<(), wsroom::rooms::JoinError>(())
/// ```
#[derive(Clone)]
pub struct Hub {
    registry: Arc<Registry>,
}

/// The limits of a hub, and its hooks.
pub struct HubConfig {
    pub(super) max_room_members: usize,
    pub(super) max_member_rooms: usize,
    pub(super) max_room_name: usize,
    pub(super) hooks: Option<Box<dyn Hooks>>,
}

/// A message was not put into the outbox of one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SendToError {
    /// There is no such member, or no more.
    Unknown,
    /// Its outbox was full: its connection is closed with 1013, and it is out of all rooms.
    Evicted,
    /// Its connection is closed, or told to close.
    Closed,
}

impl Hub {
    /// Makes a hub with the default limits and no hooks.
    #[must_use]
    pub fn new() -> Self {
        Self::with_config(HubConfig::default())
    }

    /// Makes a hub with the default limits, and hooks.
    #[must_use]
    pub fn with_hooks(hooks: impl Hooks) -> Self {
        Self::with_config(HubConfig::default().hooks(hooks))
    }

    /// Makes a hub with limits and hooks of one's own.
    #[must_use]
    pub fn with_config(config: HubConfig) -> Self {
        Self {
            registry: Arc::new(Registry::new(config)),
        }
    }

    /// Puts a connection into the hub, in no room yet.
    pub fn attach(&self, outbox: Outbox) -> Member {
        self.attach_with(outbox, Profile::default())
    }

    /// Puts a connection into the hub, in no room yet, with what the application knows about it.
    pub fn attach_with(&self, outbox: Outbox, profile: Profile) -> Member {
        let state = self.registry.attach(outbox, profile);
        Member::new(self.clone(), state)
    }

    /// The limits in force as a list, to print or to look through.
    pub fn in_force(&self) -> InForce {
        self.registry.config().in_force()
    }

    /// Begins a message to the members of a room.
    pub fn to<'a>(&'a self, room: impl Into<Cow<'a, str>>) -> Broadcast<'a> {
        Broadcast::new(self).also(room)
    }

    /// Begins a message to the members of several rooms, to each once.
    pub fn to_rooms<'a, R>(&'a self, rooms: impl IntoIterator<Item = R>) -> Broadcast<'a>
    where
        R: Into<Cow<'a, str>>,
    {
        rooms
            .into_iter()
            .fold(Broadcast::new(self), |broadcast, room| broadcast.also(room))
    }

    /// Begins a message to all members, whether they are in a room or not.
    pub fn to_all(&self) -> Broadcast<'_> {
        Broadcast::new(self).everyone()
    }

    /// Begins a message to one member. [`send_to`](Self::send_to) is shorter.
    pub fn to_member(&self, id: MemberId) -> Broadcast<'_> {
        Broadcast::new(self).also_member(id)
    }

    /// Begins a message to the members with this key: all connections of a user, say.
    pub fn to_key<'a>(&'a self, key: impl Into<Cow<'a, str>>) -> Broadcast<'a> {
        Broadcast::new(self).also_key(key)
    }

    /// Puts a message into the outbox of one member.
    ///
    /// # Errors
    ///
    /// [`SendToError`] if the message was not put in.
    pub fn send_to(&self, id: MemberId, message: impl Into<Outgoing>) -> Result<(), SendToError> {
        let member = self.registry.member(id).ok_or(SendToError::Unknown)?;
        match member.outbox.try_send(message) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full) if evict(&member.outbox) => {
                self.detach(&member, LeaveReason::Evicted);
                Err(SendToError::Evicted)
            }
            Err(TrySendError::Full | TrySendError::Closed) => Err(SendToError::Closed),
        }
    }

    /// A room to look into. This creates nothing.
    pub fn room<'a>(&'a self, name: impl Into<Cow<'a, str>>) -> Room<'a> {
        Room {
            hub: self,
            name: name.into(),
        }
    }

    /// The rooms, sorted by name. Rooms that come or go meanwhile may be among them.
    pub fn rooms(&self) -> Vec<RoomInfo> {
        let rooms = self.registry.rooms().into_iter().map(|room| RoomInfo {
            members: room.lock().members.len(),
            name: room.name.clone(),
        });
        let mut rooms: Vec<_> = rooms.filter(|room| room.members > 0).collect();
        rooms.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        rooms
    }

    /// A member by its id.
    pub fn member(&self, id: MemberId) -> Option<MemberInfo> {
        self.registry.member(id).as_ref().map(MemberInfo::of)
    }

    /// The members with this key, those first who came first.
    pub fn members_with_key(&self, key: impl AsRef<str>) -> Vec<MemberId> {
        let members = self.registry.members_with_key(key.as_ref());
        members.iter().map(|member| member.id).collect()
    }

    /// How many members there are, in a room or not.
    pub fn len(&self) -> usize {
        self.registry.len()
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Closes the connection of a member after what is queued for it, and takes it out of all
    /// rooms at once. `false` if there is no such member.
    pub fn disconnect(&self, id: MemberId, frame: impl Into<Option<CloseFrame>>) -> bool {
        let member = self.registry.member(id);
        let is_closed = member.is_some_and(|member| self.close(&member, frame.into()));
        self.call_hooks();
        is_closed
    }

    /// Closes the connections of all members after what is queued for them, and takes them out of
    /// all rooms at once: for a server that shuts down, with
    /// [`CloseCode::GOING_AWAY`](crate::CloseCode::GOING_AWAY). Says how many these were.
    ///
    /// A member that is attached meanwhile may be missed: stop accepting first.
    pub fn close_all(&self, frame: impl Into<Option<CloseFrame>>) -> usize {
        let frame = frame.into();
        let members = self.registry.members();
        let closed = members
            .iter()
            .filter(|member| self.close(member, frame.clone()))
            .count();
        self.call_hooks();
        closed
    }

    /// The hooks are still to be called.
    fn close(&self, member: &Arc<MemberState>, frame: Option<CloseFrame>) -> bool {
        member.outbox.close(frame);
        self.registry.detach(member, LeaveReason::Disconnected)
    }

    /// Takes a member out of all rooms and indexes, once: `false` if that was done before.
    pub(super) fn detach(&self, member: &Arc<MemberState>, reason: LeaveReason) -> bool {
        let detached = self.registry.detach(member, reason);
        self.call_hooks();
        detached
    }

    /// Tells the hooks what has happened. No lock is held.
    pub(super) fn call_hooks(&self) {
        let Some((hooks, events)) = self.registry.hooks() else {
            return;
        };
        if thread::panicking() {
            // A second panic that leaves the drop of a member would end the process.
            let _ = catch_unwind(AssertUnwindSafe(|| events.run(hooks, self)));
        } else {
            events.run(hooks, self);
        }
    }

    pub(super) fn registry(&self) -> &Registry {
        &self.registry
    }
}

impl Default for Hub {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub")
            .field("members", &self.len())
            .finish_non_exhaustive()
    }
}

impl Default for HubConfig {
    fn default() -> Self {
        Self {
            max_room_members: 100_000,
            max_member_rooms: 1024,
            max_room_name: 255,
            hooks: None,
        }
    }
}

impl HubConfig {
    /// How many members a room may have: 100,000. A broadcast locks the room for about 30 ms then.
    #[must_use]
    pub fn max_room_members(mut self, members: usize) -> Self {
        self.max_room_members = members;
        self
    }

    /// How many rooms a member may be in: 1024. All the rooms of the hub are at most this times
    /// its members.
    #[must_use]
    pub fn max_member_rooms(mut self, rooms: usize) -> Self {
        self.max_member_rooms = rooms;
        self
    }

    /// How long the name of a room may be, in bytes: 255.
    #[must_use]
    pub fn max_room_name(mut self, bytes: usize) -> Self {
        self.max_room_name = bytes;
        self
    }

    /// The limits in force as a list, to print or to look through.
    pub fn in_force(&self) -> InForce {
        InForce::new(
            "HubConfig",
            [
                ("max_room_members", Bound::count(self.max_room_members)),
                ("max_member_rooms", Bound::count(self.max_member_rooms)),
                ("max_room_name", Bound::bytes(self.max_room_name)),
            ],
        )
    }

    /// What is called when members and rooms come and go: nothing.
    #[must_use]
    pub fn hooks(mut self, hooks: impl Hooks) -> Self {
        self.hooks = Some(Box::new(hooks));
        self
    }
}

impl fmt::Debug for HubConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubConfig")
            .field("max_room_members", &self.max_room_members)
            .field("max_member_rooms", &self.max_member_rooms)
            .field("max_room_name", &self.max_room_name)
            .field("hooks", &self.hooks.is_some())
            .finish()
    }
}

impl fmt::Display for SendToError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "no such member",
            Self::Evicted => "outbox of the member was full, and it was evicted",
            Self::Closed => "connection of the member is closed",
        })
    }
}

impl Error for SendToError {}
