//! fastwebsockets, which has no batching.

use std::sync::Arc;

use fastwebsockets::{FragmentCollector, Frame, OpCode, Payload, Role, WebSocket};

use super::{Entry, entry};
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
    let mut socket = FragmentCollector::new(socket(work, Role::Server));
    let messages = work.payloads.len();
    let is_echo = work.task == Task::Echo;
    entry("fastwebsockets", "", move || {
        block_on(async {
            let mut left = messages;
            while left > 0 {
                let frame = socket.read_frame().await.expect("all frames are legal");
                if matches!(frame.opcode, OpCode::Text | OpCode::Binary) {
                    took(&frame.payload);
                    left -= 1;
                    if is_echo {
                        socket.write_frame(frame).await.expect("it is open");
                    }
                }
            }
        });
    })
}

fn send(work: &Arc<Workload>, role: Role) -> Entry {
    let mut wire = Some(socket(work, role));
    let payloads = work.payloads.clone();
    entry("fastwebsockets", "", move || {
        let mut socket = wire.take().expect("it was put back");
        block_on(async {
            for payload in &payloads {
                let frame = Frame::binary(Payload::Borrowed(payload));
                socket.write_frame(frame).await.expect("it is open");
            }
        });
        wire = Some(socket);
    })
}

fn socket(work: &Arc<Workload>, role: Role) -> WebSocket<Wire> {
    let mut socket = WebSocket::after_handshake(Wire::new(work), role);
    socket.set_max_message_size(MAX_MESSAGE);
    socket
}
