//! ratchet, which has no batching. It does not look at a text that comes in one frame.

use std::sync::Arc;

use bytes::BytesMut;
use ratchet_rs::{Message, NoExt, PayloadType, Role, WebSocket, WebSocketConfig};

use super::{Entry, entry, validate};
use crate::wire::{Wire, block_on, took};
use crate::workload::{MAX_MESSAGE, Task, Workload};

pub fn jobs(work: &Arc<Workload>) -> Vec<Entry> {
    match work.task {
        Task::Receive | Task::Echo => vec![receive(work)],
        Task::SendAsClient => vec![send(work, Role::Client)],
        Task::SendAsServer => vec![send(work, Role::Server)],
    }
}

fn receive(work: &Arc<Workload>) -> Entry {
    let mut socket = socket(work, Role::Server);
    let mut message = BytesMut::new();
    let messages = work.payloads.len();
    let is_echo = work.task == Task::Echo;
    entry("ratchet_rs", "", move || {
        block_on(async {
            let mut left = messages;
            while left > 0 {
                let kind = match socket
                    .read(&mut message)
                    .await
                    .expect("all frames are legal")
                {
                    Message::Text => PayloadType::Text,
                    Message::Binary => PayloadType::Binary,
                    _ => continue,
                };
                match kind {
                    PayloadType::Text => took(validate(&message).as_bytes()),
                    _ => took(&message),
                }
                left -= 1;
                if is_echo {
                    socket.write(&message, kind).await.expect("it is open");
                }
                message.clear();
            }
        });
    })
}

fn send(work: &Arc<Workload>, role: Role) -> Entry {
    let mut socket = socket(work, role);
    let payloads = work.payloads.clone();
    entry("ratchet_rs", "", move || {
        block_on(async {
            for payload in &payloads {
                socket
                    .write(payload, PayloadType::Binary)
                    .await
                    .expect("it is open");
            }
        });
    })
}

fn socket(work: &Arc<Workload>, role: Role) -> WebSocket<Wire, NoExt> {
    let config = WebSocketConfig {
        max_message_size: MAX_MESSAGE,
    };
    WebSocket::from_upgraded(config, Wire::new(work), None, BytesMut::new(), role)
}
