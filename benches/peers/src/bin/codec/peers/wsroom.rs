//! wsroom: the borrowed form is [`Connection`] over a buffer of the caller's, the owned form is
//! [`WebSocket`].

use std::io::IoSlice;
use std::sync::Arc;

use bytes::Buf;
use wsroom::protocol::Config;
use wsroom::{Agreed, Connection, Event, Role, WebSocket};

use super::{Entry, entry};
use crate::wire::{Wire, block_on, took};
use crate::workload::{MAX_FRAGMENTS, MAX_MESSAGE, Task, Workload};

pub fn jobs(work: &Arc<Workload>) -> Vec<Entry> {
    match work.task {
        Task::Receive => vec![receive_borrowed(work), receive_owned(work)],
        Task::Echo => vec![echo_borrowed(work), echo_owned(work)],
        Task::SendAsClient => [Role::Client]
            .into_iter()
            .flat_map(|role| send(work, role))
            .collect(),
        Task::SendAsServer => [Role::Server]
            .into_iter()
            .flat_map(|role| send(work, role))
            .collect(),
    }
}

fn receive_borrowed(work: &Arc<Workload>) -> Entry {
    let mut pump = Pump::new(work);
    entry("wsroom", "borrowed", move || {
        pump.run(|_, event| took(payload(&event)))
    })
}

fn echo_borrowed(work: &Arc<Workload>) -> Entry {
    let mut pump = Pump::new(work);
    entry("wsroom", "borrowed", move || {
        pump.run(|connection, event| {
            took(payload(&event));
            let sent = match &event {
                Event::Text(text) => connection.send_text(text),
                _ => connection.send_binary(payload(&event)),
            };
            sent.expect("it is open");
        });
    })
}

fn payload<'a>(event: &'a Event<'_>) -> &'a [u8] {
    match event {
        Event::Text(text) => text.as_bytes(),
        Event::Binary(payload) => payload,
        _ => &[],
    }
}

fn receive_owned(work: &Arc<Workload>) -> Entry {
    let mut socket = socket(work, Role::Server);
    let messages = work.payloads.len();
    entry("wsroom", "owned", move || {
        block_on(async {
            for _ in 0..messages {
                let message = socket.recv().await.expect("all frames are legal");
                took(message.expect("there is no end").as_bytes());
            }
        });
    })
}

fn echo_owned(work: &Arc<Workload>) -> Entry {
    let mut socket = socket(work, Role::Server);
    let messages = work.payloads.len();
    entry("wsroom", "owned", move || {
        block_on(async {
            for _ in 0..messages {
                let message = socket.recv().await.expect("all frames are legal");
                let message = message.expect("there is no end");
                took(message.as_bytes());
                socket.feed(message).await.expect("it is open");
            }
            socket.flush().await.expect("it is open");
        });
    })
}

/// With messages that are shared, and with payloads that are copied from where they lie.
fn send(work: &Arc<Workload>, role: Role) -> [Entry; 4] {
    let (mut connection, mut wire) = (connection(role), Wire::new(work));
    let payloads = work.payloads.clone();
    let bare_shared = entry("wsroom", "Connection", move || {
        for payload in &payloads {
            connection.send(payload.clone()).expect("it is open");
        }
        write(&mut connection, &mut wire);
    });
    let (mut connection, mut wire) = (self::connection(role), Wire::new(work));
    let payloads = work.payloads.clone();
    let bare_borrowed = entry("wsroom", "Connection, borrowed", move || {
        for payload in &payloads {
            connection.send_binary(payload).expect("it is open");
        }
        write(&mut connection, &mut wire);
    });
    let mut socket = socket(work, role);
    let payloads = work.payloads.clone();
    let shared = entry("wsroom", "WebSocket", move || {
        block_on(async {
            for payload in &payloads {
                socket.feed(payload.clone()).await.expect("it is open");
            }
            socket.flush().await.expect("it is open");
        });
    });
    let mut socket = self::socket(work, role);
    let payloads = work.payloads.clone();
    let borrowed = entry("wsroom", "WebSocket, borrowed", move || {
        block_on(async {
            for payload in &payloads {
                socket.feed_binary(payload).await.expect("it is open");
            }
            socket.flush().await.expect("it is open");
        });
    });
    [bare_shared, bare_borrowed, shared, borrowed]
}

fn connection(role: Role) -> Connection {
    Connection::new(role, Agreed::default(), config())
}

/// The loop around a [`Connection`]: one read, all its messages, one write.
struct Pump {
    connection: Connection,
    wire: Wire,
    buffer: Vec<u8>,
    /// What of the buffer was read and not received.
    start: usize,
    end: usize,
    /// Whether the last read went straight into a message.
    was_direct: bool,
    messages: usize,
}

/// A message of 64 KiB has room with its header.
const READ: usize = 65 << 10;

/// How much is read between two large messages: enough to know how long the second is.
const READ_BETWEEN: usize = 4 << 10;

impl Pump {
    fn new(work: &Arc<Workload>) -> Self {
        Self {
            connection: connection(Role::Server),
            wire: Wire::new(work),
            buffer: vec![0; READ],
            start: 0,
            end: 0,
            was_direct: false,
            messages: work.payloads.len(),
        }
    }

    fn run(&mut self, mut take: impl FnMut(&mut Connection, Event<'_>)) {
        let mut left = self.messages;
        while left > 0 {
            if self.start == self.end {
                write(&mut self.connection, &mut self.wire);
                match self.read() {
                    Some(event @ (Event::Text(_) | Event::Binary(_))) => {
                        take(&mut self.connection, event)
                    }
                    _ => continue,
                }
                left -= 1;
            }
            let mut input = &mut self.buffer[self.start..self.end];
            while left > 0 {
                let received = match self.connection.receive_whole(&mut input) {
                    Some(received) => received.map(Some),
                    None if is_cut(&self.connection, input) => break,
                    None => self.connection.receive(&mut input),
                };
                match received.expect("all frames are legal") {
                    None => break,
                    Some(event @ (Event::Text(_) | Event::Binary(_))) => {
                        take(&mut self.connection, event);
                    }
                    Some(_) => continue,
                }
                left -= 1;
            }
            self.start = self.end - input.len();
            if left > 0 && self.start < self.end {
                self.read_rest();
            }
        }
        write(&mut self.connection, &mut self.wire);
    }

    /// Reads behind the front part of a message, which is moved if there is no room for the rest.
    fn read_rest(&mut self) {
        let unread = &self.buffer[self.start..self.end];
        let len = self.connection.whole_len(unread);
        if len.is_some_and(|len| len > self.buffer.len() - self.start) {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        while is_cut(&self.connection, &self.buffer[self.start..self.end]) {
            self.end += self.wire.fill(&mut self.buffer[self.end..]).unwrap_or(0);
        }
    }

    /// Reads, straight into a large message if one is under way, which is given if that was the last
    /// of it.
    fn read(&mut self) -> Option<Event<'static>> {
        let missing = self.connection.missing();
        let direct = self.connection.direct_buffer();
        if !direct.is_empty() {
            self.was_direct = true;
            let count = fill(&mut self.wire, direct, missing);
            let received = self.connection.receive_direct(count);
            return received.expect("all frames are legal");
        }
        let is_between_large = self.was_direct || self.connection.is_inside_large();
        let limit = if is_between_large { READ_BETWEEN } else { READ };
        (self.start, self.was_direct) = (0, false);
        self.end = fill(&mut self.wire, &mut self.buffer[..limit], missing);
        None
    }
}

/// Whether there is the front part only of a message that the buffer holds whole.
fn is_cut(connection: &Connection, input: &[u8]) -> bool {
    let len = connection.whole_len(input);
    len.is_some_and(|len| len > input.len() && len <= READ)
}

/// Reads until something has come, and again while that makes no event.
fn fill(wire: &mut Wire, buffer: &mut [u8], missing: usize) -> usize {
    let mut count = wire.fill(buffer).unwrap_or(0);
    while (1..missing.min(buffer.len())).contains(&count) {
        match wire.fill(&mut buffer[count..]) {
            Some(more) => count += more,
            None => break,
        }
    }
    count
}

/// Writes the output with as few writes as a socket would allow.
fn write(connection: &mut Connection, wire: &mut Wire) {
    let output = connection.output();
    while output.has_remaining() {
        let mut slices = [IoSlice::new(&[]); 64];
        let count = output.chunks_vectored(&mut slices);
        let written = wire.write_vectored(&slices[..count]);
        output.advance(written);
    }
}

fn socket(work: &Arc<Workload>, role: Role) -> WebSocket<Wire> {
    WebSocket::new(Wire::new(work), role, Agreed::default(), config(), &[])
}

fn config() -> Config {
    Config::default()
        .max_message_size(MAX_MESSAGE)
        .max_fragments(MAX_FRAGMENTS)
}
