//! Rooms: connections that are sent to together, in one process.
//!
//! A [`Hub`] knows members and rooms. A [`Member`] is a connection, by its
//! [`Outbox`](crate::Outbox); it joins and leaves rooms by name. [`Hub::to`] and its siblings send
//! to rooms, to all, or to members by id or by the application's own key. How connections are read
//! and written is left to whoever drives them; no operation waits, and no runtime is needed.
//!
//! ```text
//!  Hub::to("lobby")       ┌─ room "lobby" ─┐    outbox ─▶ connection
//!    .send(message) ──────┤ member, member ├──▶ outbox ─▶ connection
//!      encoded once       └────────────────┘    outbox ─▶ connection
//!            │                                    │
//!            └── Report ◀── queued, evicted, … ◀──┘
//! ```
//!
//! # What is promised
//!
//! **Membership.** A member is in any number of rooms. A room is created by the first join and gone
//! with the last leave. Leaving, being evicted or disconnected, and dropping the [`Member`] take it
//! out. What is sent after [`join`](Member::join) has returned reaches the member, what is sent
//! after [`leave`](Member::leave) has returned does not. Of what is sent at the same time, on
//! another thread, either may be.
//!
//! **Delivery.** At most once: never twice, never a part. A member that is in the room, is connected
//! and keeps up gets the message. "Queued" in a [`Report`] is not "received": a connection can end
//! with messages in its outbox.
//!
//! **Order.** All members of a room get the messages that were sent to it in one and the same order,
//! also those that went to several rooms at once and those of different threads; what one thread
//! sends comes in the order in which it sends, and nothing comes between what is sent by one
//! [`send_all`](Broadcast::send_all). Two messages that concurrent threads send, one to a
//! room, the other to a member, a key or to all, come to different members in different orders.
//! A welcome ([`Member::join_with`]) comes before everything that is sent to the room.
//!
//! **Slow members** delay nobody. Whose outbox is full when a message is for it, is evicted: what is
//! queued is dropped, the connection closes with 1013, and the member is out of all rooms when the
//! send returns. So what a member gets has no hole; it ends. How much an outbox holds is said in its
//! [`OutboxLimits`](crate::outbox::OutboxLimits).
//!
//! **Cost.** A message is encoded once, and shared by all its members by reference count. To put it
//! into an outbox takes about 30 ns, and 0.3 µs in a room so large that it does not fit the caches;
//! to wake a connection that waits comes on top. The room is locked meanwhile, for about 30 ms with
//! 100,000 members: calls for other rooms go on, those for this room wait. A member takes about
//! 130 bytes besides its outbox and 25 in each room, and a room 240 bytes.
//!
//! # Examples
//!
//! ```
//! use wsroom::outbox::{self, OutboxLimits};
//! use wsroom::{Hub, rooms::Profile};
//!
//! let hub = Hub::new();
//! // A `Session` of the adapter has an outbox; here the connections are left out.
//! let (outbox, _connection) = outbox::channel(OutboxLimits::default());
//! let ann = hub.attach_with(outbox, Profile::new().key("ann"));
//! let (outbox, _connection) = outbox::channel(OutboxLimits::default());
//! let ben = hub.attach_with(outbox, Profile::new().key("ben"));
//!
//! ann.join("lobby")?;
//! ben.join_with("lobby", |others| {
//!     let names: Vec<_> = others.iter().filter_map(|other| other.key()).collect();
//!     [format!("here are: {}", names.join(", "))]
//! })?;
//!
//! let report = ann.to("lobby").send("hello");
//! assert_eq!((report.queued, report.excluded), (1, 1));
//!
//! // From anywhere else, an HTTP handler say:
//! assert_eq!(hub.to_rooms(["lobby", "garden"]).send("news").queued, 2);
//! assert_eq!(hub.to_key("ben").send("just for you").queued, 1);
//! # Ok::<(), wsroom::rooms::JoinError>(())
//! ```

mod broadcast;
mod hooks;
mod hub;
mod member;
mod registry;
mod room;

pub use broadcast::{Broadcast, Report};
pub use hooks::{Hooks, LeaveReason};
pub use hub::{Hub, HubConfig, SendToError};
pub use member::{JoinError, Joined, Member, MemberId, MemberInfo, ParseMemberIdError, Profile};
pub use room::{Room, RoomInfo, RoomName};
