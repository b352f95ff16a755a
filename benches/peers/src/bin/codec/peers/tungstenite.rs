//! tungstenite, which blocks: where others wait, it reports `WouldBlock`.

use std::io::ErrorKind;
use std::sync::Arc;

use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Error, Message, WebSocket};

use super::{Entry, entry};
use crate::wire::{Wire, took};
use crate::workload::{MAX_MESSAGE, Task, Workload};

pub fn jobs(work: &Arc<Workload>) -> Vec<Entry> {
    match work.task {
        Task::Receive => vec![receive(work)],
        Task::Echo => vec![echo(work), echo_batched(work)],
        Task::SendAsClient => vec![send(work, Role::Client)],
        Task::SendAsServer => vec![send(work, Role::Server)],
    }
}

fn receive(work: &Arc<Workload>) -> Entry {
    let mut socket = socket(work, Role::Server);
    let messages = work.payloads.len();
    entry("tungstenite", "", move || {
        let mut left = messages;
        while left > 0 {
            match read(&mut socket) {
                Some(Message::Text(text)) => took(text.as_bytes()),
                Some(Message::Binary(payload)) => took(&payload),
                Some(_) | None => continue,
            }
            left -= 1;
        }
    })
}

fn echo(work: &Arc<Workload>) -> Entry {
    let mut socket = socket(work, Role::Server);
    let messages = work.payloads.len();
    entry("tungstenite", "", move || {
        let mut left = messages;
        while left > 0 {
            let Some(message) = read(&mut socket) else {
                continue;
            };
            look(&message);
            socket.send(message).expect("it is open");
            left -= 1;
        }
    })
}

fn echo_batched(work: &Arc<Workload>) -> Entry {
    let mut socket = socket(work, Role::Server);
    let messages = work.payloads.len();
    entry("tungstenite", "batched", move || {
        let mut left = messages;
        while left > 0 {
            let Some(message) = read(&mut socket) else {
                socket.flush().expect("it is open");
                continue;
            };
            look(&message);
            socket.write(message).expect("it is open");
            left -= 1;
        }
        socket.flush().expect("it is open");
    })
}

fn send(work: &Arc<Workload>, role: Role) -> Entry {
    let mut socket = socket(work, role);
    let payloads = work.payloads.clone();
    entry("tungstenite", "batched", move || {
        for payload in &payloads {
            socket
                .write(Message::Binary(payload.clone()))
                .expect("it is open");
        }
        socket.flush().expect("it is open");
    })
}

/// `None` if it would have to wait.
fn read(socket: &mut WebSocket<Wire>) -> Option<Message> {
    match socket.read() {
        Ok(message) => Some(message),
        Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => None,
        Err(error) => panic!("all frames are legal: {error}"),
    }
}

fn look(message: &Message) {
    match message {
        Message::Text(text) => took(text.as_bytes()),
        Message::Binary(payload) => took(payload),
        other => panic!("nobody sent {other:?}"),
    }
}

fn socket(work: &Arc<Workload>, role: Role) -> WebSocket<Wire> {
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE));
    WebSocket::from_raw_socket(Wire::new(work), role, Some(config))
}
