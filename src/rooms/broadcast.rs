//! A message to many.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::close::{CloseCode, CloseFrame};
use crate::log::debug;
use crate::outbox::{Outbox, Outgoing, TrySendError};
use crate::protocol::{PreparedBatch, PreparedMessage};

use super::hooks::LeaveReason;
use super::hub::Hub;
use super::member::MemberId;
use super::registry::{MemberIds, MemberState, Occupant, Registry, RoomState};

/// A message on its way: to whom it goes and to whom it does not. [`send`](Self::send) sends it.
///
/// The targets add up, each member gets the message once, and the exceptions hold for all targets.
/// A room that does not exist is a room without members.
///
/// # Examples
///
/// ```
/// use wsroom::outbox::{self, OutboxLimits};
///
/// let hub = wsroom::Hub::new();
/// let (outbox, _reader) = outbox::channel(OutboxLimits::default());
/// let ann = hub.attach(outbox);
/// ann.join("red")?;
/// ann.join("blue")?;
///
/// let report = hub.to("red").also("blue").send("to each once");
/// assert_eq!(report.queued, 1);
/// let report = ann.to("red").send("to the others");
/// assert_eq!((report.queued, report.excluded), (0, 1));
/// # Ok::<(), wsroom::rooms::JoinError>(())
/// ```
#[derive(Clone)]
#[must_use = "nothing is sent before `send`"]
pub struct Broadcast<'a> {
    hub: &'a Hub,
    everyone: bool,
    rooms: Vec<Cow<'a, str>>,
    members: Vec<MemberId>,
    keys: Vec<Cow<'a, str>>,
    sender: Option<MemberId>,
    except: Vec<MemberId>,
    except_rooms: Vec<Cow<'a, str>>,
}

/// What became of a broadcast: how many members it was for, by what happened at their outboxes.
///
/// Queued is not received: a connection can end with messages in its outbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Members in whose outbox the message was put.
    pub queued: usize,
    /// Members whose outbox was full: their connection is closed with 1013, and they are out of
    /// all rooms.
    pub evicted: usize,
    /// Members whose connection is closed, or told to close.
    pub closed: usize,
    /// Members that were excepted, the sender among them.
    pub excluded: usize,
}

impl<'a> Broadcast<'a> {
    pub(super) const fn new(hub: &'a Hub) -> Self {
        Self {
            hub,
            everyone: false,
            rooms: Vec::new(),
            members: Vec::new(),
            keys: Vec::new(),
            sender: None,
            except: Vec::new(),
            except_rooms: Vec::new(),
        }
    }

    pub(super) const fn everyone(mut self) -> Self {
        self.everyone = true;
        self
    }

    pub(super) const fn from(mut self, sender: MemberId) -> Self {
        self.sender = Some(sender);
        self
    }

    /// Also to the members of this room.
    pub fn also(mut self, room: impl Into<Cow<'a, str>>) -> Self {
        self.rooms.push(room.into());
        self
    }

    /// Also to this member.
    pub fn also_member(mut self, id: MemberId) -> Self {
        self.members.push(id);
        self
    }

    /// Also to the members with this key.
    pub fn also_key(mut self, key: impl Into<Cow<'a, str>>) -> Self {
        self.keys.push(key.into());
        self
    }

    /// Not to this member.
    pub fn except(mut self, id: MemberId) -> Self {
        self.except.push(id);
        self
    }

    /// Not to these members.
    pub fn except_members(mut self, ids: impl IntoIterator<Item = MemberId>) -> Self {
        self.except.extend(ids);
        self
    }

    /// Not to those who are in one of these rooms when the message is sent.
    pub fn except_rooms<R>(mut self, rooms: impl IntoIterator<Item = R>) -> Self
    where
        R: Into<Cow<'a, str>>,
    {
        self.except_rooms.extend(rooms.into_iter().map(R::into));
        self
    }

    /// Also to the member that sends it, if it is among the targets.
    pub const fn including_self(mut self) -> Self {
        self.sender = None;
        self
    }

    /// Puts the message into the outbox of each target, and says how that went.
    ///
    /// The message is encoded once. No member makes this wait: whose outbox is full is evicted.
    /// The rooms are locked meanwhile: a join, a leave or another message of the same room waits.
    /// What that costs is said in the [module](super).
    pub fn send(self, message: impl Into<PreparedMessage>) -> Report {
        self.deliver(&message.into())
    }

    /// Puts several messages into the outbox of each target, in their order and with nothing between
    /// them, and says how that went. Each member gets all of them or none.
    ///
    /// If nothing else waits in an outbox, it takes them all, however many they are. 16 together take a
    /// quarter less CPU time than as many [`send`](Self::send)s to 1,000 members on sockets: the room is
    /// walked through once, and a member writes one piece of memory. For the events of a tick, say, or with
    /// [`Session::recv_many`](crate::Session::recv_many) for all that came at once.
    ///
    /// # Examples
    ///
    /// ```
    /// use wsroom::outbox::{self, OutboxLimits};
    ///
    /// let hub = wsroom::Hub::new();
    /// let (outbox, _reader) = outbox::channel(OutboxLimits::default());
    /// let member = hub.attach(outbox);
    /// member.join("game")?;
    /// let report = hub.to("game").send_all(["ann moved", "bob was hit"]);
    /// assert_eq!(report.queued, 1);
    /// # Ok::<(), wsroom::rooms::JoinError>(())
    /// ```
    pub fn send_all(self, messages: impl IntoIterator<Item: Into<PreparedMessage>>) -> Report {
        let mut messages = messages.into_iter().map(Into::into);
        match (messages.next(), messages.next()) {
            (None, _) => Report::default(),
            (Some(message), None) => self.deliver(&message),
            (Some(first), Some(second)) => self.deliver(&PreparedBatch::new(
                [first, second].into_iter().chain(messages),
            )),
        }
    }

    fn deliver<M>(&self, message: &M) -> Report
    where
        for<'m> &'m M: Into<Outgoing>,
    {
        let registry = self.hub.registry();
        let sources = self.rooms.len() + self.members.len() + self.keys.len();
        let mut delivery = Delivery {
            message,
            report: Report::default(),
            sender: self.sender,
            except: self.exceptions(registry),
            reached: (!self.everyone && sources > 1).then(MemberIds::default),
            slow: Vec::new(),
        };
        if self.everyone {
            registry.for_everyone(|member| delivery.give_member(member));
        } else {
            delivery.give_rooms(&self.targets(registry));
            for member in self.members.iter().filter_map(|&id| registry.member(id)) {
                delivery.give_member(&member);
            }
            for key in &self.keys {
                for member in registry.members_with_key(key) {
                    delivery.give_member(&member);
                }
            }
        }
        let Delivery {
            report, mut slow, ..
        } = delivery;
        if slow.is_empty() {
            return report;
        }
        slow.sort_unstable_by_key(|member| member.id);
        for member in slow {
            debug!(member = %member.id, "slow member disconnected");
            registry.detach(&member, LeaveReason::Evicted);
        }
        self.hub.call_hooks();
        report
    }

    /// The rooms, each once, in the order in which they are locked.
    fn targets(&self, registry: &Registry) -> Vec<Arc<RoomState>> {
        let rooms = self.rooms.iter().filter_map(|name| registry.room(name));
        let mut rooms: Vec<_> = rooms.collect();
        rooms.sort_unstable_by_key(|room| Arc::as_ptr(room).addr());
        rooms.dedup_by(|a, b| Arc::ptr_eq(a, b));
        rooms
    }

    fn exceptions(&self, registry: &Registry) -> MemberIds {
        let mut except: MemberIds = self.except.iter().copied().collect();
        for room in &self.except_rooms {
            if let Some(room) = registry.room(room) {
                except.extend(room.lock().members.keys());
            }
        }
        except
    }
}

impl fmt::Debug for Broadcast<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broadcast")
            .field("everyone", &self.everyone)
            .field("rooms", &self.rooms)
            .field("members", &self.members)
            .field("keys", &self.keys)
            .field("sender", &self.sender)
            .field("except", &self.except)
            .field("except_rooms", &self.except_rooms)
            .finish_non_exhaustive()
    }
}

/// A message being handed out, or several together.
struct Delivery<'a, M> {
    message: &'a M,
    report: Report,
    sender: Option<MemberId>,
    except: MemberIds,
    /// Who was looked at before, if someone can be met twice.
    reached: Option<MemberIds>,
    /// Whose outbox was full. They leave when no lock is held.
    slow: Vec<Arc<MemberState>>,
}

impl<M> Delivery<'_, M>
where
    for<'m> &'m M: Into<Outgoing>,
{
    /// All rooms are locked together, so that their members see this message and any other in the
    /// same order.
    fn give_rooms(&mut self, rooms: &[Arc<RoomState>]) {
        let mut locked: Vec<_> = rooms.iter().map(|room| room.lock()).collect();
        for inside in &mut locked {
            let inside = &mut **inside;
            for (&id, Occupant { outbox, member }) in &inside.members {
                let gate = inside.gates.iter_mut().find(|gate| gate.member == id);
                self.give(id, outbox, member, gate);
            }
        }
    }

    fn give_member(&mut self, member: &Arc<MemberState>) {
        self.give(member.id, &member.outbox, member, None);
    }

    fn give(
        &mut self,
        id: MemberId,
        outbox: &Outbox,
        member: &Arc<MemberState>,
        gate: Option<&mut Gate>,
    ) {
        if let Some(reached) = &mut self.reached
            && !reached.insert(id)
        {
            return;
        }
        if self.sender == Some(id) || self.except.contains(&id) {
            self.report.excluded += 1;
            return;
        }
        let queued = match gate {
            Some(gate) => gate.hold(outbox, self.message.into()),
            None => outbox.try_send(self.message),
        };
        match queued {
            Ok(()) => self.report.queued += 1,
            // At once, so that nothing is put in behind the message that is lost.
            Err(TrySendError::Full) if evict(outbox) => {
                self.report.evicted += 1;
                self.slow.push(Arc::clone(member));
            }
            // In the second case, another thread was faster to evict it.
            Err(TrySendError::Closed | TrySendError::Full) => self.report.closed += 1,
        }
    }
}

/// Holds back what is sent to a room for a member that is not welcomed yet.
pub(super) struct Gate {
    pub(super) member: MemberId,
    held: Vec<Outgoing>,
    messages: usize,
    bytes: usize,
}

impl Gate {
    pub(super) const fn new(member: MemberId) -> Self {
        Self {
            member,
            held: Vec::new(),
            messages: 0,
            bytes: 0,
        }
    }

    /// Takes as much as the outbox would if it were empty.
    fn hold(&mut self, outbox: &Outbox, message: Outgoing) -> Result<(), TrySendError> {
        if outbox.is_closed() {
            return Err(TrySendError::Closed);
        }
        let limits = outbox.limits();
        let messages = self.messages.saturating_add(message.count());
        let bytes = self.bytes.saturating_add(message.len());
        let fits = messages <= limits.max_messages && bytes <= limits.max_bytes;
        if !fits && !self.held.is_empty() {
            return Err(TrySendError::Full);
        }
        self.held.push(message);
        (self.messages, self.bytes) = (messages, bytes);
        Ok(())
    }

    pub(super) fn open(self, outbox: &Outbox) -> Result<(), TrySendError> {
        self.held
            .into_iter()
            .try_for_each(|message| outbox.try_send(message))
    }
}

/// Closes a connection that does not keep up. `false` if it was closing before.
pub(super) fn evict(outbox: &Outbox) -> bool {
    outbox.evict(CloseFrame::new(CloseCode::TRY_AGAIN_LATER, "slow consumer"))
}
