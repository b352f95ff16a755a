//! tokio-websockets.

use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use tokio_websockets::{ClientBuilder, Config, Limits, Message, ServerBuilder, WebSocketStream};

use super::{Entry, entry};
use crate::wire::{BURST, Wire, block_on, now, took};
use crate::workload::{MAX_MESSAGE, Task, Workload};

pub fn jobs(work: &Arc<Workload>) -> Vec<Entry> {
    match work.task {
        Task::Receive => vec![receive(work)],
        Task::Echo => vec![echo(work), echo_batched(work)],
        Task::SendAsClient => vec![send(work, client(work))],
        Task::SendAsServer => vec![send(work, server(work, BURST))],
    }
}

fn receive(work: &Arc<Workload>) -> Entry {
    let mut socket = server(work, 8 << 10);
    let messages = work.payloads.len();
    entry("tokio-websockets", "", move || {
        block_on(async {
            let mut left = messages;
            while left > 0 {
                let message = socket.next().await.expect("there is no end");
                let message = message.expect("all frames are legal");
                if message.is_text() || message.is_binary() {
                    took(message.as_payload());
                    left -= 1;
                }
            }
        });
    })
}

fn echo(work: &Arc<Workload>) -> Entry {
    let mut socket = server(work, 8 << 10);
    let messages = work.payloads.len();
    entry("tokio-websockets", "", move || {
        block_on(async {
            for _ in 0..messages {
                let message = socket.next().await.expect("there is no end");
                let message = message.expect("all frames are legal");
                took(message.as_payload());
                socket.send(message).await.expect("it is open");
            }
        });
    })
}

/// Its stream flushes before it looks for the next message, so this batches nothing.
fn echo_batched(work: &Arc<Workload>) -> Entry {
    let mut socket = server(work, BURST);
    let messages = work.payloads.len();
    entry("tokio-websockets", "batched", move || {
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
                took(message.as_payload());
                socket.feed(message).await.expect("it is open");
                left -= 1;
            }
            socket.flush().await.expect("it is open");
        });
    })
}

fn send(work: &Arc<Workload>, mut socket: WebSocketStream<Wire>) -> Entry {
    let payloads = work.payloads.clone();
    entry("tokio-websockets", "batched", move || {
        block_on(async {
            for payload in &payloads {
                socket
                    .feed(Message::binary(payload.clone()))
                    .await
                    .expect("it is open");
            }
            socket.flush().await.expect("it is open");
        });
    })
}

fn server(work: &Arc<Workload>, flush_threshold: usize) -> WebSocketStream<Wire> {
    ServerBuilder::new()
        .config(Config::default().flush_threshold(flush_threshold))
        .limits(Limits::default().max_payload_len(Some(MAX_MESSAGE)))
        .serve(Wire::new(work))
}

fn client(work: &Arc<Workload>) -> WebSocketStream<Wire> {
    ClientBuilder::new()
        .config(Config::default().flush_threshold(BURST))
        .take_over(Wire::new(work))
}
