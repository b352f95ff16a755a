//! The last messages of each room, for those who join.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use wsroom::Hub;
use wsroom::rooms::Report;

use super::protocol::{Person, Said};

/// Remembers the last messages while a room exists.
#[derive(Clone, Default)]
pub(crate) struct Histories {
    rooms: Arc<Mutex<HashMap<String, History>>>,
}

type History = VecDeque<Said>;

/// How many messages of a room are remembered.
const REMEMBERED: usize = 50;

impl Histories {
    /// Calls `join` with the messages of a room, and lets no message pass meanwhile: what is in
    /// the history does not come live too, and nothing is missing between the two.
    pub(crate) fn with<T>(&self, room: &str, join: impl FnOnce(&History) -> T) -> T {
        let rooms = self.lock();
        join(rooms.get(room).unwrap_or(&History::new()))
    }

    /// Sends a message to a room and remembers it.
    pub(crate) fn send(&self, hub: &Hub, room: &str, from: &Person, text: String) -> Report {
        let said = Said {
            from: from.id.clone(),
            name: from.name.clone(),
            text,
            at: now(),
        };
        let mut rooms = self.lock();
        let report = hub.to(room).send(said.encode());
        if report.queued > 0 {
            let history = rooms.entry(room.to_owned()).or_default();
            if history.len() == REMEMBERED {
                history.pop_front();
            }
            history.push_back(said);
        }
        report
    }

    /// Forgets a room that nobody is in any more.
    pub(crate) fn forget_if_empty(&self, hub: &Hub, room: &str) {
        let mut rooms = self.lock();
        if hub.room(room).is_empty() {
            rooms.remove(room);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, History>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_millis() as u64)
}
