//! yawc, with its validation of text turned on.

use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use yawc::frame::{Frame, OpCode};
use yawc::{Options, Role, WebSocket};

use super::{Entry, entry};
use crate::wire::{BURST, Wire, block_on, now, took};
use crate::workload::{MAX_MESSAGE, Task, Workload};

pub fn jobs(work: &Arc<Workload>) -> Vec<Entry> {
    match work.task {
        // With larger buffers no Pong was written while a flood went on.
        Task::Receive if work.unit == "ns/ping" => vec![receive(work, "")],
        Task::Receive => vec![receive(work, ""), receive(work, "tuned")],
        Task::Echo => vec![echo(work), echo_batched(work)],
        Task::SendAsClient => vec![send(work, Role::Client)],
        Task::SendAsServer => vec![send(work, Role::Server)],
    }
}

fn receive(work: &Arc<Workload>, adapter: &str) -> Entry {
    let mut socket = socket(work, Role::Server, adapter == "tuned");
    let messages = work.payloads.len();
    entry("yawc", adapter, move || {
        block_on(async {
            let mut left = messages;
            while left > 0 {
                let frame = socket.next().await.expect("all frames are legal");
                if matches!(frame.opcode(), OpCode::Text | OpCode::Binary) {
                    took(frame.payload());
                    left -= 1;
                }
            }
        });
    })
}

fn echo(work: &Arc<Workload>) -> Entry {
    let mut socket = socket(work, Role::Server, false);
    let messages = work.payloads.len();
    entry("yawc", "", move || {
        block_on(async {
            for _ in 0..messages {
                let frame = socket.next().await.expect("all frames are legal");
                took(frame.payload());
                socket.send(frame).await.expect("it is open");
            }
        });
    })
}

fn echo_batched(work: &Arc<Workload>) -> Entry {
    let mut socket = socket(work, Role::Server, true);
    let messages = work.payloads.len();
    entry("yawc", "tuned, batched", move || {
        block_on(async {
            let mut left = messages;
            while left > 0 {
                let Some(frame) = now(socket.next()).await else {
                    socket.flush().await.expect("it is open");
                    continue;
                };
                let frame = frame.expect("all frames are legal");
                took(frame.payload());
                socket.feed(frame).await.expect("it is open");
                left -= 1;
            }
            socket.flush().await.expect("it is open");
        });
    })
}

fn send(work: &Arc<Workload>, role: Role) -> Entry {
    let mut socket = socket(work, role, true);
    let payloads = work.payloads.clone();
    entry("yawc", "tuned, batched", move || {
        block_on(async {
            for payload in &payloads {
                socket
                    .feed(Frame::binary(payload.clone()))
                    .await
                    .expect("it is open");
            }
            socket.flush().await.expect("it is open");
        });
    })
}

/// Tuned: with buffers for as much as one read brings.
fn socket(work: &Arc<Workload>, role: Role, is_tuned: bool) -> WebSocket<Wire> {
    let mut options = Options::default()
        .with_utf8()
        .with_limits(MAX_MESSAGE, 2 * MAX_MESSAGE);
    if is_tuned {
        options = options
            .with_read_buffer_capacity(BURST)
            .with_write_buffer_capacity(BURST)
            .with_backpressure_boundary(BURST);
    }
    WebSocket::from_stream(Wire::new(work), role, options).expect("nothing was negotiated")
}
