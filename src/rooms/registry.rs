//! Who is where: the rooms, the members, and the indexes over them.
//!
//! Locks, in the order in which one thread may take them:
//!
//! ```text
//!   everyone ─▶ members (a shard) ─┐
//!   keys (a shard) ─▶ members      ├─▶ outbox
//!   room, several by address ──────┼─▶ seats of one member
//!                                  └─▶ events
//!   rooms (a shard): alone
//! ```
//!
//! No code of the application runs under any of them, but for the wakers of connections, which
//! schedule a task and do no more. What the locks guard is whole wherever one of those may panic.

use std::any::Any;
use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::outbox::Outbox;

use super::broadcast::Gate;
use super::hooks::{Event, EventQueue, Hooks, LeaveReason};
use super::hub::HubConfig;
use super::member::{JoinError, Joined, MemberId, MemberInfo, Profile};
use super::room::RoomName;

/// Rooms, members and keys, each spread over shards so that unrelated ones rarely meet at a lock.
pub(super) struct Registry {
    rooms: Box<[Mutex<Rooms>]>,
    members: Box<[Mutex<Members>]>,
    keys: Box<[Mutex<Keys>]>,
    /// Held by a delivery to all, so that all see two of them in the same order.
    everyone: Mutex<()>,
    /// What the hooks are not told yet.
    events: EventQueue,
    hasher: RandomState,
    next_id: AtomicU64,
    config: HubConfig,
}

/// Rooms by name.
type Rooms = HashSet<ByName>;
/// Members by id.
pub(super) type Members = HashMap<MemberId, Arc<MemberState>, BuildHasherDefault<IdHasher>>;
/// The members of a room, those first who came to the hub first: what a broadcast touches for one
/// lies near to what it touches for the next, in the kernel too: some 7 % of its time with 5,000.
pub(super) type Occupants = BTreeMap<MemberId, Occupant>;
/// Members by the application's key, in the order in which they came.
type Keys = HashMap<Arc<str>, Vec<Arc<MemberState>>>;
/// A set of members.
pub(super) type MemberIds = HashSet<MemberId, BuildHasherDefault<IdHasher>>;

/// A room. It is in its shard for as long as it is not `gone`, and a moment longer.
pub(super) struct RoomState {
    pub(super) name: RoomName,
    inside: Mutex<Inside>,
}

/// What the lock of a room guards.
#[derive(Default)]
pub(super) struct Inside {
    pub(super) members: Occupants,
    /// Members whose welcome is not queued yet; what is delivered to them waits here.
    pub(super) gates: Vec<Gate>,
    /// The last member has left. A room that is gone stays so: a join makes another.
    gone: bool,
}

/// A member in a room.
pub(super) struct Occupant {
    /// That of the member: a broadcast needs nothing else of most, and each thing looked up for it
    /// is a miss of the cache in a large room.
    pub(super) outbox: Outbox,
    pub(super) member: Arc<MemberState>,
}

/// A connection that is attached to the hub.
pub(super) struct MemberState {
    pub(super) id: MemberId,
    pub(super) key: Option<Arc<str>>,
    pub(super) data: Option<Arc<dyn Any + Send + Sync>>,
    pub(super) outbox: Outbox,
    seats: Mutex<Seats>,
}

/// The rooms of a member, sorted by name.
#[derive(Default)]
struct Seats {
    rooms: Vec<Arc<RoomState>>,
    /// The member was taken out of the hub, and joins nothing any more.
    detached: bool,
}

/// Whether the member who joins is to be welcomed first.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Welcome {
    None,
    /// Deliveries wait behind a [`Gate`].
    Gate,
}

/// What [`Registry::join`] did: the room, and who else was in it if there is to be a welcome.
pub(super) struct Entered {
    pub(super) joined: Joined,
    pub(super) room: Arc<RoomState>,
    pub(super) others: Vec<MemberInfo>,
}

impl Occupant {
    pub(super) fn info(&self) -> MemberInfo {
        MemberInfo::of(&self.member)
    }
}

impl Registry {
    pub(super) fn new(config: HubConfig) -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let shards = (4 * cores).next_power_of_two();
        Self {
            rooms: (0..shards).map(|_| Mutex::default()).collect(),
            members: (0..shards).map(|_| Mutex::default()).collect(),
            keys: (0..shards).map(|_| Mutex::default()).collect(),
            everyone: Mutex::new(()),
            events: EventQueue::default(),
            hasher: RandomState::new(),
            next_id: AtomicU64::new(1),
            config,
        }
    }

    pub(super) const fn config(&self) -> &HubConfig {
        &self.config
    }

    pub(super) fn attach(&self, outbox: Outbox, profile: Profile) -> Arc<MemberState> {
        let id = MemberId::new(self.next_id.fetch_add(1, Ordering::Relaxed));
        let member = Arc::new(MemberState {
            id,
            key: profile.key,
            data: profile.data,
            outbox,
            seats: Mutex::default(),
        });
        // Both indexes at once: whoever finds the member by one of them can take it out of both.
        let keyed = member.key.as_ref().map(|key| {
            let mut keys = lock(self.key_shard(key));
            keys.entry(Arc::clone(key))
                .or_default()
                .push(Arc::clone(&member));
            keys
        });
        lock(self.member_shard(id)).insert(id, Arc::clone(&member));
        drop(keyed);
        member
    }

    /// Takes a member out of all rooms and indexes, once: `false` if that was done before.
    pub(super) fn detach(&self, member: &Arc<MemberState>, reason: LeaveReason) -> bool {
        let rooms = {
            let mut seats = lock(&member.seats);
            if seats.detached {
                return false;
            }
            seats.detached = true;
            std::mem::take(&mut seats.rooms)
        };
        if let Some(key) = &member.key {
            let mut keys = lock(self.key_shard(key));
            if let Some(same) = keys.get_mut(key) {
                same.retain(|other| !Arc::ptr_eq(other, member));
                if same.is_empty() {
                    keys.remove(key);
                    shrink(&mut keys);
                }
            }
        }
        let mut members = lock(self.member_shard(member.id));
        members.remove(&member.id);
        shrink(&mut members);
        drop(members);
        for room in &rooms {
            self.take_out(room, room.lock(), member, reason);
        }
        true
    }

    pub(super) fn join(
        &self,
        member: &Arc<MemberState>,
        name: &str,
        welcome: Welcome,
    ) -> Result<Entered, JoinError> {
        if name.len() > self.config.max_room_name {
            return Err(JoinError::NameTooLong);
        }
        let mut gone = None;
        loop {
            let room = self.room_or_new(name, gone.take());
            let mut inside = room.lock();
            if inside.gone {
                drop(inside);
                gone = Some(room);
                continue;
            }
            let members = inside.members.len();
            match self.take_seat(member, &room, members) {
                Ok(()) => {}
                Err(None) => {
                    drop(inside);
                    return Ok(Entered {
                        joined: Joined::already(members),
                        room,
                        others: Vec::new(),
                    });
                }
                Err(Some(error)) => {
                    // The room may have been made for this join.
                    inside.gone = members == 0;
                    drop(inside);
                    if members == 0 {
                        self.forget(&room);
                    }
                    return Err(error);
                }
            }
            let mut others = Vec::new();
            if welcome == Welcome::Gate {
                others.extend(inside.members.values().map(Occupant::info));
                inside.gates.push(Gate::new(member.id));
            }
            let occupant = Occupant {
                outbox: member.outbox.clone(),
                member: Arc::clone(member),
            };
            inside.members.insert(member.id, occupant);
            let created = members == 0;
            if self.config.hooks.is_some() {
                if created {
                    self.events.push(Event::Created(room.name.clone()));
                }
                let info = MemberInfo::of(member);
                self.events.push(Event::Joined(info, room.name.clone()));
            }
            drop(inside);
            return Ok(Entered {
                joined: Joined::new(created, members + 1),
                room,
                others,
            });
        }
    }

    /// The member's side of a join. `Err(None)` if it has a seat.
    fn take_seat(
        &self,
        member: &MemberState,
        room: &Arc<RoomState>,
        members: usize,
    ) -> Result<(), Option<JoinError>> {
        let mut seats = lock(&member.seats);
        let Err(seat) = seats.find(&room.name) else {
            return Err(None);
        };
        if seats.detached {
            return Err(Some(JoinError::Detached));
        }
        if seats.rooms.len() >= self.config.max_member_rooms {
            return Err(Some(JoinError::TooManyRooms));
        }
        if members >= self.config.max_room_members {
            return Err(Some(JoinError::RoomFull));
        }
        seats.rooms.insert(seat, Arc::clone(room));
        Ok(())
    }

    /// The room of this name, made if there is none but the one that is known to be gone.
    fn room_or_new(&self, name: &str, gone: Option<Arc<RoomState>>) -> Arc<RoomState> {
        let mut rooms = lock(self.room_shard(name));
        if let Some(found) = rooms.get(name)
            && gone.is_none_or(|gone| !Arc::ptr_eq(&found.0, &gone))
        {
            return Arc::clone(&found.0);
        }
        let room = Arc::new(RoomState {
            name: RoomName::from(name),
            inside: Mutex::default(),
        });
        rooms.replace(ByName(Arc::clone(&room)));
        room
    }

    /// Removes a room that is gone, unless another has taken its place.
    fn forget(&self, room: &Arc<RoomState>) {
        let mut rooms = lock(self.room_shard(&room.name));
        if let Some(found) = rooms.get(room.name.as_str())
            && Arc::ptr_eq(&found.0, room)
        {
            rooms.remove(room.name.as_str());
            if wastes(rooms.len(), rooms.capacity()) {
                rooms.shrink_to_fit();
            }
        }
    }

    pub(super) fn leave(&self, member: &Arc<MemberState>, name: &str) -> bool {
        let room = {
            let seats = lock(&member.seats);
            let Ok(seat) = seats.find(name) else {
                return false;
            };
            Arc::clone(&seats.rooms[seat])
        };
        self.unseat(member, &room)
    }

    pub(super) fn leave_all(&self, member: &Arc<MemberState>) -> usize {
        let rooms = lock(&member.seats).rooms.clone();
        rooms
            .iter()
            .filter(|room| self.unseat(member, room))
            .count()
    }

    fn unseat(&self, member: &Arc<MemberState>, room: &Arc<RoomState>) -> bool {
        let inside = room.lock();
        {
            let mut seats = lock(&member.seats);
            match seats.find(&room.name) {
                Ok(seat) if Arc::ptr_eq(&seats.rooms[seat], room) => seats.rooms.remove(seat),
                _ => return false,
            };
        }
        self.take_out(room, inside, member, LeaveReason::Left);
        true
    }

    /// Takes a member that has no seat any more out of the room, and the room away with the last.
    fn take_out(
        &self,
        room: &Arc<RoomState>,
        mut inside: MutexGuard<'_, Inside>,
        member: &Arc<MemberState>,
        reason: LeaveReason,
    ) {
        let removed = inside.members.remove(&member.id);
        debug_assert!(removed.is_some(), "who has a seat is in the room");
        let gate = inside
            .gate(member.id)
            .map(|at| inside.gates.swap_remove(at));
        if inside.gates.is_empty() {
            inside.gates = Vec::new();
        }
        inside.gone = inside.members.is_empty();
        let gone = inside.gone;
        if self.config.hooks.is_some() {
            let info = MemberInfo::of(member);
            let left = Event::Left(info, room.name.clone(), reason);
            self.events.push(left);
            if gone {
                self.events.push(Event::Removed(room.name.clone()));
            }
        }
        drop(inside);
        drop((removed, gate));
        if gone {
            self.forget(room);
        }
    }

    /// The hooks, and what they are to be told when no lock is held.
    pub(super) fn hooks(&self) -> Option<(&dyn Hooks, &EventQueue)> {
        let hooks = self.config.hooks.as_deref()?;
        Some((hooks, &self.events))
    }

    pub(super) fn room(&self, name: &str) -> Option<Arc<RoomState>> {
        let rooms = lock(self.room_shard(name));
        rooms.get(name).map(|room| Arc::clone(&room.0))
    }

    /// All rooms, as they are shard by shard.
    pub(super) fn rooms(&self) -> Vec<Arc<RoomState>> {
        let mut all = Vec::new();
        for shard in &self.rooms {
            all.extend(lock(shard).iter().map(|room| Arc::clone(&room.0)));
        }
        all
    }

    pub(super) fn member(&self, id: MemberId) -> Option<Arc<MemberState>> {
        lock(self.member_shard(id)).get(&id).map(Arc::clone)
    }

    /// All members, as they are shard by shard.
    pub(super) fn members(&self) -> Vec<Arc<MemberState>> {
        let mut all = Vec::new();
        for shard in &self.members {
            all.extend(lock(shard).values().map(Arc::clone));
        }
        all
    }

    /// Visits all members, in an order of visits that is the same for all.
    pub(super) fn for_everyone(&self, mut visit: impl FnMut(&Arc<MemberState>)) {
        let _everyone = lock(&self.everyone);
        for shard in &self.members {
            lock(shard).values().for_each(&mut visit);
        }
    }

    pub(super) fn members_with_key(&self, key: &str) -> Vec<Arc<MemberState>> {
        let keys = lock(self.key_shard(key));
        keys.get(key).cloned().unwrap_or_default()
    }

    pub(super) fn len(&self) -> usize {
        self.members.iter().map(|shard| lock(shard).len()).sum()
    }

    fn room_shard(&self, name: &str) -> &Mutex<Rooms> {
        &self.rooms[self.shard(name)]
    }

    fn key_shard(&self, key: &str) -> &Mutex<Keys> {
        &self.keys[self.shard(key)]
    }

    /// Ids are given out one after the other, so that their low bits spread them evenly.
    fn member_shard(&self, id: MemberId) -> &Mutex<Members> {
        &self.members[id.low_bits() & (self.members.len() - 1)]
    }

    /// The number of shards is a power of two. The maps use the low bits of their own hash.
    fn shard(&self, name: &str) -> usize {
        self.hasher.hash_one(name) as usize & (self.rooms.len() - 1)
    }
}

impl RoomState {
    pub(super) fn lock(&self) -> MutexGuard<'_, Inside> {
        lock(&self.inside)
    }
}

impl Inside {
    pub(super) fn gate(&self, id: MemberId) -> Option<usize> {
        self.gates.iter().position(|gate| gate.member == id)
    }
}

impl MemberState {
    pub(super) fn rooms(&self) -> Vec<RoomName> {
        let seats = lock(&self.seats);
        seats.rooms.iter().map(|room| room.name.clone()).collect()
    }

    pub(super) fn is_in(&self, name: &str) -> bool {
        lock(&self.seats).find(name).is_ok()
    }

    pub(super) fn is_detached(&self) -> bool {
        lock(&self.seats).detached
    }
}

impl Seats {
    fn find(&self, name: &str) -> Result<usize, usize> {
        self.rooms
            .binary_search_by(|room| room.name.as_str().cmp(name))
    }
}

/// A room in a set that is asked by name.
struct ByName(Arc<RoomState>);

impl Borrow<str> for ByName {
    fn borrow(&self) -> &str {
        &self.0.name
    }
}

impl Hash for ByName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.name.as_str().hash(state);
    }
}

impl PartialEq for ByName {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name
    }
}

impl Eq for ByName {}

/// Hashes ids, which are small numbers of our own: nobody can choose them to collide.
#[derive(Clone, Copy, Default)]
pub(super) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    /// Fibonacci hashing; the multiplication spreads upwards, the rotation brings it down again.
    fn write_u64(&mut self, id: u64) {
        self.0 = (self.0 ^ id)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(32);
    }
}

/// Gives memory back when few of many are left.
fn shrink<K: Eq + Hash, V, S: BuildHasher>(map: &mut HashMap<K, V, S>) {
    if wastes(map.len(), map.capacity()) {
        map.shrink_to_fit();
    }
}

/// Less than a quarter is used, and it is not small anyway.
const fn wastes(len: usize, capacity: usize) -> bool {
    capacity > 64 && len < capacity / 4
}

/// Takes a lock, also one that was held in a panic: see the head of this file.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
