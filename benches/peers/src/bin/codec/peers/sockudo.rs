//! sockudo-ws: its protocol with a loop by hand, and its stream.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt, StreamExt};
use sockudo_ws::protocol::Protocol;
use sockudo_ws::{Config, Message, Role, WebSocketStream};

use super::{Entry, entry};
use crate::wire::{BURST, Wire, block_on, now, took};
use crate::workload::{MAX_MESSAGE, Task, Workload};

pub fn jobs(work: &Arc<Workload>) -> Vec<Entry> {
    match work.task {
        Task::Receive => vec![pump(work), receive(work)],
        Task::Echo => vec![pump(work), echo(work), echo_batched(work)],
        Task::SendAsClient => vec![send_raw(work, Role::Client), send(work, Role::Client)],
        Task::SendAsServer => vec![send_raw(work, Role::Server), send(work, Role::Server)],
    }
}

/// One read, all its messages, one write.
fn pump(work: &Arc<Workload>) -> Entry {
    let mut protocol = Protocol::new(Role::Server, MAX_MESSAGE, MAX_MESSAGE);
    let mut wire = Wire::new(work);
    let mut input = BytesMut::with_capacity(BURST);
    let mut output = BytesMut::new();
    let mut messages = Vec::new();
    let count = work.payloads.len();
    let mut ahead = 0;
    let is_echo = work.task == Task::Echo;
    entry("sockudo-ws", "Protocol", move || {
        while ahead < count {
            if let Some(bytes) = wire.next(BURST) {
                input.extend_from_slice(bytes);
            }
            protocol
                .process_into(&mut input, &mut messages)
                .expect("all frames are legal");
            for message in messages.drain(..) {
                match &message {
                    Message::Ping(payload) => protocol.encode_pong(payload, &mut output),
                    Message::Text(payload) | Message::Binary(payload) => {
                        took(payload);
                        ahead += 1;
                        if is_echo {
                            protocol
                                .encode_message(&message, &mut output)
                                .expect("it is open");
                        }
                    }
                    _ => {}
                }
            }
            if !output.is_empty() {
                wire.write(&output);
                output.clear();
            }
        }
        ahead -= count;
    })
}

fn send_raw(work: &Arc<Workload>, role: Role) -> Entry {
    let mut protocol = Protocol::new(role, MAX_MESSAGE, MAX_MESSAGE);
    let mut wire = Wire::new(work);
    let mut output = BytesMut::new();
    let payloads = work.payloads.clone();
    entry("sockudo-ws", "Protocol", move || {
        for payload in &payloads {
            let message = Message::Binary(payload.clone());
            protocol
                .encode_message(&message, &mut output)
                .expect("it is open");
        }
        wire.write(&output);
        output.clear();
    })
}

fn receive(work: &Arc<Workload>) -> Entry {
    let mut socket = socket(work, Role::Server);
    let messages = work.payloads.len();
    entry("sockudo-ws", "", move || {
        block_on(async {
            let mut left = messages;
            while left > 0 {
                let message = socket.next().await.expect("there is no end");
                if let Some(payload) = data(&message.expect("all frames are legal")) {
                    took(payload);
                    left -= 1;
                }
            }
        });
    })
}

fn echo(work: &Arc<Workload>) -> Entry {
    let mut socket = socket(work, Role::Server);
    let messages = work.payloads.len();
    entry("sockudo-ws", "", move || {
        block_on(async {
            for _ in 0..messages {
                let message = socket.next().await.expect("there is no end");
                let message = message.expect("all frames are legal");
                took(message.as_bytes());
                socket.send(message).await.expect("it is open");
            }
        });
    })
}

fn echo_batched(work: &Arc<Workload>) -> Entry {
    let mut socket = socket(work, Role::Server);
    let messages = work.payloads.len();
    entry("sockudo-ws", "batched", move || {
        block_on(async {
            let mut left = messages;
            while left > 0 {
                let Some(message) = now(socket.next()).await else {
                    socket.flush().await.expect("it is open");
                    continue;
                };
                let message = message
                    .expect("there is no end")
                    .expect("all frames are legal");
                took(message.as_bytes());
                socket.feed(message).await.expect("it is open");
                left -= 1;
            }
            socket.flush().await.expect("it is open");
        });
    })
}

fn send(work: &Arc<Workload>, role: Role) -> Entry {
    let mut socket = socket(work, role);
    let payloads = work.payloads.clone();
    entry("sockudo-ws", "batched", move || {
        block_on(async {
            for payload in &payloads {
                socket
                    .feed(Message::Binary(payload.clone()))
                    .await
                    .expect("it is open");
            }
            socket.flush().await.expect("it is open");
        });
    })
}

fn data(message: &Message) -> Option<&Bytes> {
    match message {
        Message::Text(payload) | Message::Binary(payload) => Some(payload),
        _ => None,
    }
}

fn socket(work: &Arc<Workload>, role: Role) -> WebSocketStream<Wire> {
    let config = Config::builder().max_payload_length(MAX_MESSAGE).build();
    WebSocketStream::from_raw(Wire::new(work), role, config)
}
