//! nexus-web, which gives messages that borrow from its reader, and its adapter for tokio.

use std::sync::Arc;

use nexus_async_web::AsyncReadAdapter;
use nexus_async_web::ws::{WsReader, WsWriter};
use nexus_web::buf::WriteBuf;
use nexus_web::ws::{FrameReader, FrameWriter, Message, Role};

use super::{Entry, entry};
use crate::wire::{BURST, Wire, block_on, took};
use crate::workload::{MAX_MESSAGE, Task, Workload};

pub fn jobs(work: &Arc<Workload>) -> Vec<Entry> {
    match work.task {
        Task::Receive | Task::Echo => vec![receive_raw(work), receive(work)],
        Task::SendAsClient => vec![send_raw(work, Role::Client), send(work, Role::Client)],
        Task::SendAsServer => vec![send_raw(work, Role::Server), send(work, Role::Server)],
    }
}

fn receive_raw(work: &Arc<Workload>) -> Entry {
    let mut reader = reader();
    let mut out = Out::new(work, Role::Server);
    let messages = work.payloads.len();
    let is_echo = work.task == Task::Echo;
    entry("nexus-web", "borrowed", move || {
        let mut left = messages;
        while left > 0 {
            match reader.next().expect("all frames are legal") {
                Some(Message::Text(text)) => {
                    took(text.as_bytes());
                    left -= 1;
                    if is_echo {
                        out.push(text.len(), |writer, to| {
                            writer.encode_text(text.as_bytes(), to)
                        });
                    }
                }
                Some(Message::Binary(bytes)) => {
                    took(bytes);
                    left -= 1;
                    if is_echo {
                        out.push(bytes.len(), |writer, to| writer.encode_binary(bytes, to));
                    }
                }
                Some(Message::Ping(bytes)) => out.push(bytes.len(), |writer, to| {
                    writer.encode_pong(bytes, to).expect("it is short")
                }),
                Some(_) => {}
                None => {
                    out.write();
                    if reader.should_compact() || reader.spare().is_empty() {
                        reader.compact();
                    }
                    let spare = reader.spare();
                    let room = spare.len().min(BURST);
                    let filled = out.wire.fill(&mut spare[..room]).unwrap_or(0);
                    reader.filled(filled);
                }
            }
        }
        out.write();
    })
}

fn receive(work: &Arc<Workload>) -> Entry {
    let mut stream = AsyncReadAdapter::new(Wire::new(work));
    let mut reader = WsReader::from_raw_parts(reader(), BURST);
    let mut writer = writer(Role::Server);
    let messages = work.payloads.len();
    let is_echo = work.task == Task::Echo;
    entry("nexus-async-web", "borrowed", move || {
        block_on(async {
            let mut left = messages;
            while left > 0 {
                let message = reader
                    .recv(&mut stream)
                    .await
                    .expect("all frames are legal");
                match message.expect("there is no end") {
                    Message::Text(text) => {
                        took(text.as_bytes());
                        left -= 1;
                        if is_echo {
                            writer
                                .send_text(&mut stream, text)
                                .await
                                .expect("it is open");
                        }
                    }
                    Message::Binary(bytes) => {
                        took(bytes);
                        left -= 1;
                        if is_echo {
                            writer
                                .send_binary(&mut stream, bytes)
                                .await
                                .expect("it is open");
                        }
                    }
                    Message::Ping(bytes) => {
                        writer
                            .send_pong(&mut stream, bytes)
                            .await
                            .expect("it is open");
                    }
                    _ => {}
                }
            }
        });
    })
}

fn send_raw(work: &Arc<Workload>, role: Role) -> Entry {
    let mut out = Out::new(work, role);
    let payloads = work.payloads.clone();
    entry("nexus-web", "", move || {
        for payload in &payloads {
            out.push(payload.len(), |writer, to| {
                writer.encode_binary(payload, to)
            });
        }
        out.write();
    })
}

fn send(work: &Arc<Workload>, role: Role) -> Entry {
    let mut stream = AsyncReadAdapter::new(Wire::new(work));
    let mut writer = writer(role);
    let payloads = work.payloads.clone();
    entry("nexus-async-web", "", move || {
        block_on(async {
            for payload in &payloads {
                writer
                    .send_binary(&mut stream, payload)
                    .await
                    .expect("it is open");
            }
        });
    })
}

/// Frames that leave together.
struct Out {
    wire: Wire,
    writer: FrameWriter,
    buffer: Vec<u8>,
    len: usize,
}

impl Out {
    fn new(work: &Arc<Workload>, role: Role) -> Self {
        let wire = Wire::new(work);
        Self {
            wire,
            writer: FrameWriter::new(role),
            buffer: vec![0; 2 << 20],
            len: 0,
        }
    }

    fn push(&mut self, len: usize, encode: impl FnOnce(&mut FrameWriter, &mut [u8]) -> usize) {
        if self.buffer.len() - self.len < self.writer.max_encoded_len(len) {
            self.write();
        }
        self.len += encode(&mut self.writer, &mut self.buffer[self.len..]);
    }

    fn write(&mut self) {
        if self.len > 0 {
            self.wire.write(&self.buffer[..self.len]);
            self.len = 0;
        }
    }
}

fn reader() -> FrameReader {
    FrameReader::builder()
        .role(Role::Server)
        .max_frame_size(MAX_MESSAGE as u64)
        .max_message_size(MAX_MESSAGE)
        .build()
}

fn writer(role: Role) -> WsWriter {
    WsWriter::from_raw_parts(FrameWriter::new(role), WriteBuf::new(2 << 20, 14))
}
