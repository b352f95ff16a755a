//! A connection in the hub.

use std::any::Any;
use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::outbox::{Outbox, Outgoing, TrySendError};

use super::broadcast::{Broadcast, evict};
use super::hooks::LeaveReason;
use super::hub::Hub;
use super::registry::{Entered, MemberState, Welcome};
use super::room::RoomName;

/// A connection in the hub. Dropping it leaves every room and takes it out of the hub.
///
/// Keep it where the connection is driven, so that membership ends when the connection does.
///
/// # Examples
///
/// ```
/// use wsroom::outbox::{self, OutboxLimits};
/// use wsroom::{Hub, rooms::Profile};
///
/// let hub = Hub::new();
/// // A `Session` of the adapter has an outbox of its own.
/// let (outbox, _reader) = outbox::channel(OutboxLimits::default());
/// let member = hub.attach_with(outbox, Profile::new().key("user-7"));
///
/// assert!(member.join("lobby")?.created);
/// assert_eq!(hub.room("lobby").len(), 1);
/// assert_eq!(hub.members_with_key("user-7"), [member.id()]);
///
/// drop(member);
/// assert!(hub.room("lobby").is_empty());
/// # Ok::<(), wsroom::rooms::JoinError>(())
/// ```
pub struct Member {
    hub: Hub,
    state: Arc<MemberState>,
}

/// The name of a member: unique in its hub, never used again.
///
/// Its text form, by `Display` and `FromStr`, may be shown to clients: it tells nothing but the
/// order in which members came.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(u64);

/// What the application knows about a member. Empty by default.
#[derive(Clone, Default)]
pub struct Profile {
    pub(super) key: Option<Arc<str>>,
    pub(super) data: Option<Arc<dyn Any + Send + Sync>>,
}

/// A member as others see it: who it is, and what the application said about it.
///
/// It says nothing about whether the member is still there, and does not keep it there.
#[derive(Clone)]
pub struct MemberInfo {
    state: Arc<MemberState>,
}

/// What a join did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Joined {
    /// The room was not there before.
    pub created: bool,
    /// The member was in the room before; nothing has happened.
    pub already: bool,
    /// How many members the room has, this one included.
    pub members: usize,
}

/// A room was not joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum JoinError {
    /// The name is longer than the hub allows.
    NameTooLong,
    /// The room has as many members as the hub allows.
    RoomFull,
    /// The member is in as many rooms as the hub allows.
    TooManyRooms,
    /// The member was evicted or disconnected, and is no longer in the hub.
    Detached,
}

impl Member {
    pub(super) const fn new(hub: Hub, state: Arc<MemberState>) -> Self {
        Self { hub, state }
    }

    /// The name of this member.
    pub fn id(&self) -> MemberId {
        self.state.id
    }

    /// The application's own key, such as a user id.
    pub fn key(&self) -> Option<&str> {
        self.state.key.as_deref()
    }

    /// The application's own data, if it is a `T`.
    pub fn data<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.state.data.as_deref()?.downcast_ref()
    }

    /// The queue to the connection, to send to it alone.
    pub fn outbox(&self) -> &Outbox {
        &self.state.outbox
    }

    /// The hub.
    pub const fn hub(&self) -> &Hub {
        &self.hub
    }

    /// This member as others see it.
    pub fn info(&self) -> MemberInfo {
        MemberInfo::of(&self.state)
    }

    /// Whether the member was evicted or disconnected: it is in no room, and joins none.
    pub fn is_detached(&self) -> bool {
        self.state.is_detached()
    }

    /// Joins a room, which is created if there is none of this name. To join again does nothing.
    ///
    /// Whatever is sent to the room after this has returned reaches the member.
    ///
    /// # Errors
    ///
    /// [`JoinError`] if a limit of the hub is reached, or the member was evicted or disconnected.
    pub fn join(&self, room: impl AsRef<str>) -> Result<Joined, JoinError> {
        let registry = self.hub.registry();
        let entered = registry.join(&self.state, room.as_ref(), Welcome::None)?;
        self.hub.call_hooks();
        Ok(entered.joined)
    }

    /// Joins a room, and gets what `welcome` makes before anything that is sent to the room.
    ///
    /// `welcome` is given the members that were in the room at the moment of the join: every later
    /// join, leave and message of the room comes to this member behind the welcome. It runs after
    /// that moment, without a lock, and may call the hub. What is sent to the room meanwhile is
    /// held back for this member alone, within the limits of its outbox. It is not called if the
    /// member was in the room before. To list the others takes time by their number.
    ///
    /// If `welcome` panics, the member has left the room again.
    ///
    /// # Errors
    ///
    /// [`JoinError`] as for [`join`](Self::join). A welcome for which the outbox has no room
    /// evicts the member, as any other message would, which is [`JoinError::Detached`].
    ///
    /// # Examples
    ///
    /// ```
    /// use wsroom::outbox::{self, OutboxLimits};
    ///
    /// let hub = wsroom::Hub::new();
    /// let (outbox, _reader) = outbox::channel(OutboxLimits::default());
    /// let member = hub.attach(outbox);
    /// member.join_with("lobby", |others| [format!("{} others are here", others.len())])?;
    /// assert_eq!(member.outbox().queued().0, 1);
    /// # Ok::<(), wsroom::rooms::JoinError>(())
    /// ```
    pub fn join_with<I>(
        &self,
        room: impl AsRef<str>,
        welcome: impl FnOnce(&[MemberInfo]) -> I,
    ) -> Result<Joined, JoinError>
    where
        I: IntoIterator<Item: Into<Outgoing>>,
    {
        let entered = self
            .hub
            .registry()
            .join(&self.state, room.as_ref(), Welcome::Gate)?;
        let joined = entered.joined;
        if joined.already {
            return Ok(joined);
        }
        let threshold = Threshold {
            member: self,
            entered,
            crossed: false,
        };
        threshold.welcome(welcome)?;
        Ok(joined)
    }

    /// Leaves a room, which is gone if this was its last member. `false` if it was not in it.
    ///
    /// Whatever is sent to the room after this has returned does not reach the member.
    pub fn leave(&self, room: impl AsRef<str>) -> bool {
        let left = self.hub.registry().leave(&self.state, room.as_ref());
        self.hub.call_hooks();
        left
    }

    /// Leaves all rooms, and says how many these were.
    pub fn leave_all(&self) -> usize {
        let left = self.hub.registry().leave_all(&self.state);
        self.hub.call_hooks();
        left
    }

    /// The rooms this member is in, sorted by name.
    pub fn rooms(&self) -> Vec<RoomName> {
        self.state.rooms()
    }

    /// Begins a message to all others in a room, whether this member is in it or not.
    ///
    /// [`including_self`](Broadcast::including_self) sends it to this member too.
    pub fn to<'a>(&'a self, room: impl Into<Cow<'a, str>>) -> Broadcast<'a> {
        self.hub.to(room).from(self.id())
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.hub.detach(&self.state, LeaveReason::Dropped);
    }
}

/// A member that is in the room, but has not been welcomed. Dropped so, it leaves again.
struct Threshold<'a> {
    member: &'a Member,
    entered: Entered,
    crossed: bool,
}

impl Threshold<'_> {
    fn welcome<I>(mut self, welcome: impl FnOnce(&[MemberInfo]) -> I) -> Result<(), JoinError>
    where
        I: IntoIterator<Item: Into<Outgoing>>,
    {
        let messages = welcome(&self.entered.others);
        for message in messages {
            match self.member.outbox().try_send(message) {
                Ok(()) => {}
                Err(TrySendError::Full) => return self.evict(),
                // The connection is over, and its task will soon drop the member.
                Err(TrySendError::Closed) => break,
            }
        }
        let mut inside = self.entered.room.lock();
        let Some(gate) = inside.gate(self.member.id()) else {
            // Someone has taken the member out of the room, or out of all.
            drop(inside);
            self.crossed = true;
            return match self.member.is_detached() {
                true => Err(JoinError::Detached),
                false => Ok(()),
            };
        };
        let gate = inside.gates.swap_remove(gate);
        // Under the lock of the room, so that what is sent next comes behind what was held back.
        let opened = gate.open(self.member.outbox());
        drop(inside);
        self.crossed = true;
        match opened {
            Err(TrySendError::Full) => return self.evict(),
            Ok(()) | Err(TrySendError::Closed) => {}
        }
        self.member.hub.call_hooks();
        Ok(())
    }

    fn evict(&mut self) -> Result<(), JoinError> {
        self.crossed = true;
        evict(self.member.outbox());
        let hub = &self.member.hub;
        hub.detach(&self.member.state, LeaveReason::Evicted);
        Err(JoinError::Detached)
    }
}

impl Drop for Threshold<'_> {
    fn drop(&mut self) {
        if !self.crossed {
            self.member.leave(&self.entered.room.name);
        }
    }
}

impl MemberId {
    pub(super) const fn new(number: u64) -> Self {
        Self(number)
    }

    pub(super) const fn low_bits(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemberId({self})")
    }
}

impl FromStr for MemberId {
    type Err = ParseMemberIdError;

    fn from_str(text: &str) -> Result<Self, ParseMemberIdError> {
        // What `Display` writes and nothing else: no sign, no leading zero.
        let canonical = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
        match text.parse() {
            Ok(number) if canonical => Ok(Self(number)),
            _ => Err(ParseMemberIdError),
        }
    }
}

/// A text is not a [`MemberId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ParseMemberIdError;

impl fmt::Display for ParseMemberIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text is not a member id")
    }
}

impl Error for ParseMemberIdError {}

impl Profile {
    /// An empty profile.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the application's own key: a user id, a player id. Several members may share one.
    #[must_use]
    pub fn key(mut self, key: impl Into<Arc<str>>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Sets data of the application, for [`MemberInfo::data`].
    #[must_use]
    pub fn data<T: Any + Send + Sync>(mut self, data: T) -> Self {
        self.data = Some(Arc::new(data));
        self
    }
}

impl fmt::Debug for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Profile")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

impl MemberInfo {
    pub(super) fn of(state: &Arc<MemberState>) -> Self {
        Self {
            state: Arc::clone(state),
        }
    }

    /// The name of the member.
    pub fn id(&self) -> MemberId {
        self.state.id
    }

    /// The application's own key, such as a user id.
    pub fn key(&self) -> Option<&str> {
        self.state.key.as_deref()
    }

    /// The application's own data, if it is a `T`.
    pub fn data<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.state.data.as_deref()?.downcast_ref()
    }

    /// The rooms the member is in now, sorted by name.
    pub fn rooms(&self) -> Vec<RoomName> {
        self.state.rooms()
    }
}

impl Joined {
    pub(super) const fn new(created: bool, members: usize) -> Self {
        Self {
            created,
            already: false,
            members,
        }
    }

    pub(super) const fn already(members: usize) -> Self {
        Self {
            created: false,
            already: true,
            members,
        }
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member")
            .field("id", &self.id())
            .field("key", &self.key())
            .field("rooms", &self.rooms())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for MemberInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemberInfo")
            .field("id", &self.id())
            .field("key", &self.key())
            .finish_non_exhaustive()
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NameTooLong => "name of the room is too long",
            Self::RoomFull => "room is full",
            Self::TooManyRooms => "member is in too many rooms",
            Self::Detached => "member was evicted or disconnected",
        })
    }
}

impl Error for JoinError {}
