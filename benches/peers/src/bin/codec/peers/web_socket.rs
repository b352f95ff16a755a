//! web-socket, which reads frames piecemeal and leaves fragments, text and Pongs to the caller. It
//! is given a buffered stream as well, which it lacks.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite, BufStream};
use web_socket::{DataType, Event, MessageType, Stream, WebSocket};

use super::{Entry, entry, validate};
use crate::wire::{BURST, Wire, block_on, took};
use crate::workload::{Task, Workload};

pub fn jobs(work: &Arc<Workload>) -> Vec<Entry> {
    let bare = || Wire::new(work);
    let buffered = || BufStream::with_capacity(BURST, BURST, Wire::new(work));
    match work.task {
        Task::Receive | Task::Echo => vec![
            receive(work, "", WebSocket::server(bare())),
            receive(work, "buffered", WebSocket::server(buffered())),
        ],
        Task::SendAsClient => vec![
            send(work, "", WebSocket::client(bare())),
            send(work, "buffered", WebSocket::client(buffered())),
        ],
        Task::SendAsServer => vec![
            send(work, "", WebSocket::server(bare())),
            send(work, "buffered", WebSocket::server(buffered())),
        ],
    }
}

fn receive<S>(work: &Arc<Workload>, adapter: &str, mut socket: WebSocket<S>) -> Entry
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let messages = work.payloads.len();
    let is_echo = work.task == Task::Echo;
    let mut fragments = Vec::new();
    entry("web-socket", adapter, move || {
        block_on(async {
            let mut left = messages;
            while left > 0 {
                let (kind, data) = match socket.recv().await.expect("there is no end") {
                    Event::Data {
                        ty: DataType::Complete(kind),
                        data,
                    } => (kind, data),
                    Event::Data {
                        ty: DataType::Stream(Stream::End(kind)),
                        data,
                    } => {
                        fragments.extend_from_slice(&data);
                        (kind, std::mem::take(&mut fragments).into())
                    }
                    Event::Data { data, .. } => {
                        fragments.extend_from_slice(&data);
                        continue;
                    }
                    Event::Ping(data) => {
                        socket.send_pong(data).await.expect("it is open");
                        continue;
                    }
                    other => panic!("nobody sent {other:?}"),
                };
                left -= 1;
                match kind {
                    MessageType::Text => {
                        let text = validate(&data);
                        took(text.as_bytes());
                        if is_echo {
                            socket.send(text).await.expect("it is open");
                        }
                    }
                    MessageType::Binary => {
                        took(&data);
                        if is_echo {
                            socket.send(&*data).await.expect("it is open");
                        }
                    }
                }
            }
            socket.flash().await.expect("it is open");
        });
    })
}

fn send<S>(work: &Arc<Workload>, adapter: &str, mut socket: WebSocket<S>) -> Entry
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let payloads = work.payloads.clone();
    entry("web-socket", adapter, move || {
        block_on(async {
            for payload in &payloads {
                socket.send(&**payload).await.expect("it is open");
            }
            socket.flash().await.expect("it is open");
        });
    })
}
