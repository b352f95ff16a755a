//! wtx, which gives frames that borrow from its buffer and has no batching.

use std::sync::Arc;

use wtx::collection::Vector;
use wtx::rng::Xorshift64;
use wtx::stream::{StreamReader, StreamWriter};
use wtx::web_socket::{Frame, OpCode, WebSocketBuffer, WebSocketOwned, WebSocketPayloadOrigin};

use super::{Entry, entry};
use crate::wire::{Wire, block_on, took};
use crate::workload::{MAX_MESSAGE, Task, Workload};

pub fn jobs(work: &Arc<Workload>) -> Vec<Entry> {
    match work.task {
        Task::Receive => vec![receive(work)],
        Task::Echo => vec![echo(work)],
        Task::SendAsClient => vec![send::<true>(work)],
        Task::SendAsServer => vec![send::<false>(work)],
    }
}

fn receive(work: &Arc<Workload>) -> Entry {
    let mut socket = socket::<false>(work);
    let mut buffer = Vector::new();
    let messages = work.payloads.len();
    entry("wtx", "borrowed", move || {
        block_on(async {
            let mut left = messages;
            while left > 0 {
                buffer.clear();
                let frame = socket
                    .read_frame(&mut buffer, WebSocketPayloadOrigin::Adaptive)
                    .await;
                let frame = frame.expect("all frames are legal");
                if matches!(frame.op_code(), OpCode::Text | OpCode::Binary) {
                    took(frame.payload());
                    left -= 1;
                }
            }
        });
    })
}

fn echo(work: &Arc<Workload>) -> Entry {
    let mut socket = socket::<false>(work);
    let mut buffer = Vector::new();
    let messages = work.payloads.len();
    entry("wtx", "borrowed", move || {
        block_on(async {
            let (mut common, mut reader, mut writer) = socket.split_mut();
            for _ in 0..messages {
                buffer.clear();
                let origin = WebSocketPayloadOrigin::Adaptive;
                let frame = reader.read_frame(&mut buffer, &mut common, origin).await;
                let mut frame = frame.expect("all frames are legal");
                took(frame.payload());
                writer
                    .write_frame(&mut common, &mut frame)
                    .await
                    .expect("it is open");
            }
        });
    })
}

/// Masks in place, so that a client needs a copy.
fn send<const IS_CLIENT: bool>(work: &Arc<Workload>) -> Entry {
    let mut socket = socket::<IS_CLIENT>(work);
    let payloads = work.payloads.clone();
    let mut copy = Vec::new();
    entry("wtx", "", move || {
        block_on(async {
            for payload in &payloads {
                copy.clear();
                copy.extend_from_slice(payload);
                let mut frame = Frame::<_, IS_CLIENT>::new_fin(OpCode::Binary, &mut copy[..]);
                socket.write_frame(&mut frame).await.expect("it is open");
            }
        });
    })
}

type Socket<const IS_CLIENT: bool> = WebSocketOwned<(), Xorshift64, Stream, IS_CLIENT>;

fn socket<const IS_CLIENT: bool>(work: &Arc<Workload>) -> Socket<IS_CLIENT> {
    let random = Xorshift64::from(0x1234_5678_9abc_def1);
    let stream = Stream(Wire::new(work));
    let mut socket = WebSocketOwned::new((), false, random, stream, WebSocketBuffer::new());
    socket.set_max_payload_len(MAX_MESSAGE);
    socket
}

struct Stream(Wire);

impl StreamReader for Stream {
    #[inline]
    async fn read(&mut self, bytes: &mut [u8]) -> wtx::Result<usize> {
        loop {
            if let Some(len) = self.0.fill(bytes) {
                return Ok(len);
            }
        }
    }
}

impl StreamWriter for Stream {
    #[inline]
    async fn write_all(&mut self, bytes: &[u8]) -> wtx::Result<()> {
        self.0.write(bytes);
        Ok(())
    }

    #[inline]
    async fn write_all_vectored(&mut self, bytes: &[&[u8]]) -> wtx::Result<()> {
        let mut slices = [std::io::IoSlice::new(&[]); 8];
        for (slice, bytes) in slices.iter_mut().zip(bytes) {
            *slice = std::io::IoSlice::new(bytes);
        }
        self.0.write_vectored(&slices[..bytes.len()]);
        Ok(())
    }
}
