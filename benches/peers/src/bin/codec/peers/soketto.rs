//! soketto, over a buffered stream as its examples have it. It does not look at texts.

use std::pin::pin;
use std::sync::Arc;

use soketto::connection::{Builder, Mode};
use soketto::{Data, Receiver, Sender};
use tokio::io::BufStream;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

use super::{Entry, entry, validate};
use crate::wire::{Wire, block_on, now, took};
use crate::workload::{MAX_MESSAGE, Task, Workload};

type Stream = Compat<BufStream<Wire>>;

pub fn jobs(work: &Arc<Workload>) -> Vec<Entry> {
    match work.task {
        Task::Receive => vec![receive(work)],
        Task::Echo => vec![echo(work), echo_batched(work)],
        Task::SendAsClient => vec![send(work, Mode::Client)],
        Task::SendAsServer => vec![send(work, Mode::Server)],
    }
}

fn receive(work: &Arc<Workload>) -> Entry {
    let (_, mut receiver) = socket(work, Mode::Server);
    let messages = work.payloads.len();
    let mut message = Vec::new();
    entry("soketto", "", move || {
        block_on(async {
            for _ in 0..messages {
                message.clear();
                let data = receiver.receive_data(&mut message).await;
                look(&data.expect("all frames are legal"), &message);
            }
        });
    })
}

fn echo(work: &Arc<Workload>) -> Entry {
    let (mut sender, mut receiver) = socket(work, Mode::Server);
    let messages = work.payloads.len();
    let mut message = Vec::new();
    entry("soketto", "", move || {
        block_on(async {
            for _ in 0..messages {
                message.clear();
                let data = receiver.receive_data(&mut message).await;
                reply(data.expect("all frames are legal"), &message, &mut sender).await;
                sender.flush().await.expect("it is open");
            }
        });
    })
}

fn echo_batched(work: &Arc<Workload>) -> Entry {
    let (mut sender, mut receiver) = socket(work, Mode::Server);
    let messages = work.payloads.len();
    let mut message = Vec::new();
    entry("soketto", "batched", move || {
        block_on(async {
            for _ in 0..messages {
                message.clear();
                let data = {
                    let mut receiving = pin!(receiver.receive_data(&mut message));
                    loop {
                        match now(receiving.as_mut()).await {
                            Some(data) => break data,
                            None => sender.flush().await.expect("it is open"),
                        }
                    }
                };
                reply(data.expect("all frames are legal"), &message, &mut sender).await;
            }
            sender.flush().await.expect("it is open");
        });
    })
}

fn send(work: &Arc<Workload>, mode: Mode) -> Entry {
    let (mut sender, _) = socket(work, mode);
    let payloads = work.payloads.clone();
    entry("soketto", "batched", move || {
        block_on(async {
            for payload in &payloads {
                sender.send_binary(payload).await.expect("it is open");
            }
            sender.flush().await.expect("it is open");
        });
    })
}

async fn reply(data: Data, message: &[u8], sender: &mut Sender<Stream>) {
    look(&data, message);
    match data {
        Data::Text(_) => {
            let text = str::from_utf8(message).expect("it was validated");
            sender.send_text(text).await.expect("it is open");
        }
        Data::Binary(_) => sender.send_binary(message).await.expect("it is open"),
    }
}

fn look(data: &Data, message: &[u8]) {
    match data {
        Data::Text(_) => took(validate(message).as_bytes()),
        Data::Binary(_) => took(message),
    }
}

fn socket(work: &Arc<Workload>, mode: Mode) -> (Sender<Stream>, Receiver<Stream>) {
    let mut builder = Builder::new(BufStream::new(Wire::new(work)).compat(), mode);
    builder.set_max_message_size(MAX_MESSAGE);
    builder.set_max_frame_size(MAX_MESSAGE);
    builder.finish()
}
