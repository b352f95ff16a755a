//! A room as it is seen from outside.

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use super::hub::Hub;
use super::member::{MemberId, MemberInfo};
use super::registry::Occupant;

/// The name of a room: any text, also the empty one. Cloning it copies nothing.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoomName(Arc<str>);

impl RoomName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Deref for RoomName {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for RoomName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for RoomName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl From<&str> for RoomName {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl From<String> for RoomName {
    fn from(name: String) -> Self {
        Self(name.into())
    }
}

/// So that a room can be addressed with it.
impl<'a> From<&'a RoomName> for Cow<'a, str> {
    fn from(name: &'a RoomName) -> Self {
        Cow::Borrowed(name)
    }
}

impl PartialEq<str> for RoomName {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for RoomName {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl fmt::Display for RoomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl fmt::Debug for RoomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// A room and how many members it had, as [`Hub::rooms`] found it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RoomInfo {
    /// Its name.
    pub name: RoomName,
    /// How many members it had, at least one.
    pub members: usize,
}

/// A room of a hub, to look into. It is a name: making one creates nothing, and every question is
/// answered by how the room is at that moment.
#[derive(Clone)]
pub struct Room<'a> {
    pub(super) hub: &'a Hub,
    pub(super) name: Cow<'a, str>,
}

impl Room<'_> {
    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The members, those first who came to the hub first. Takes time by their number.
    pub fn members(&self) -> Vec<MemberInfo> {
        let Some(room) = self.hub.registry().room(&self.name) else {
            return Vec::new();
        };
        room.lock().members.values().map(Occupant::info).collect()
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        let room = self.hub.registry().room(&self.name);
        room.map_or(0, |room| room.lock().members.len())
    }

    /// Whether nobody is in, that is, whether there is no such room.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a member is in.
    pub fn contains(&self, id: MemberId) -> bool {
        let member = self.hub.registry().member(id);
        member.is_some_and(|member| member.is_in(&self.name))
    }
}

impl fmt::Debug for Room<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Room")
            .field("name", &self.name)
            .field("members", &self.len())
            .finish()
    }
}
