//! nago-wss, over a stream of its own trait with the fast paths that its socket has.

use std::sync::Arc;

use bytes::BytesMut;
use nago_wss::conn::{Connection, Role};
use nago_wss::proto::{Limits, Message};
use nago_wss::stream::{ByteStream, Errno, StreamExt};

use super::{Entry, entry};
use crate::wire::{Wire, block_on, now, took};
use crate::workload::{MAX_MESSAGE, Task, Workload};

pub fn jobs(work: &Arc<Workload>) -> Vec<Entry> {
    match work.task {
        Task::Receive => vec![receive(work)],
        Task::Echo => vec![receive(work), echo_batched(work)],
        Task::SendAsClient => vec![send(work, Role::Client)],
        Task::SendAsServer => vec![send(work, Role::Server)],
    }
}

fn receive(work: &Arc<Workload>) -> Entry {
    let mut socket = socket(work, Role::Server);
    let messages = work.payloads.len();
    let is_echo = work.task == Task::Echo;
    entry("nago-wss", "", move || {
        block_on(async {
            let mut left = messages;
            while left > 0 {
                let message = socket.read().await.expect("all frames are legal");
                match message.expect("there is no end") {
                    Message::Ping(payload) => socket.pong(payload).await.expect("it is open"),
                    message => {
                        look(&message);
                        left -= 1;
                        if is_echo {
                            socket.write(message).await.expect("it is open");
                        }
                    }
                }
            }
        });
    })
}

/// Collects what has come, and writes it when there is nothing more.
fn echo_batched(work: &Arc<Workload>) -> Entry {
    let mut socket = socket(work, Role::Server);
    let messages = work.payloads.len();
    let mut batch = Vec::new();
    entry("nago-wss", "batched", move || {
        block_on(async {
            let mut left = messages;
            while left > 0 {
                let Some(message) = now(socket.read()).await else {
                    socket.write_all(batch.drain(..)).await.expect("it is open");
                    continue;
                };
                let message = message
                    .expect("all frames are legal")
                    .expect("there is no end");
                look(&message);
                batch.push(message);
                left -= 1;
            }
            socket.write_all(batch.drain(..)).await.expect("it is open");
        });
    })
}

fn send(work: &Arc<Workload>, role: Role) -> Entry {
    let mut socket = socket(work, role);
    let payloads = work.payloads.clone();
    entry("nago-wss", "batched", move || {
        block_on(async {
            let messages = payloads
                .iter()
                .map(|payload| Message::Binary(payload.clone()));
            socket.write_all(messages).await.expect("it is open");
        });
    })
}

fn look(message: &Message) {
    match message {
        Message::Text(payload) | Message::Binary(payload) => took(payload),
        other => panic!("nobody sent {other:?}"),
    }
}

fn socket(work: &Arc<Workload>, role: Role) -> Connection<Socket> {
    let limits = Limits {
        max_frame: MAX_MESSAGE as u64,
        max_message: MAX_MESSAGE,
    };
    Connection::new(Socket(Wire::new(work)), role, limits)
}

struct Socket(Wire);

impl ByteStream for Socket {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Errno> {
        loop {
            match self.0.fill(buffer) {
                Some(len) => return Ok(len),
                None => pause().await,
            }
        }
    }

    async fn write_all(&mut self, buffer: &[u8]) -> Result<(), Errno> {
        self.0.write(buffer);
        Ok(())
    }
}

impl StreamExt for Socket {
    async fn read_buf(&mut self, buffer: &mut BytesMut) -> Result<usize, Errno> {
        let room = buffer.capacity() - buffer.len();
        loop {
            match self.0.next(room) {
                Some(bytes) => {
                    buffer.extend_from_slice(bytes);
                    return Ok(bytes.len());
                }
                None => pause().await,
            }
        }
    }

    async fn write_all_vectored(&mut self, header: &[u8], payload: &[u8]) -> Result<(), Errno> {
        use std::io::IoSlice;
        self.0
            .write_vectored(&[IoSlice::new(header), IoSlice::new(payload)]);
        Ok(())
    }
}

/// Waits for the next poll.
async fn pause() {
    let mut is_first = true;
    std::future::poll_fn(|_| match std::mem::take(&mut is_first) {
        true => std::task::Poll::Pending,
        false => std::task::Poll::Ready(()),
    })
    .await;
}
