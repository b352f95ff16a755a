//! Rooms: connections that are sent to together.

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
