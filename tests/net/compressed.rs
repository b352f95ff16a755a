//! What compression (RFC 7692) asks of the adapter.

use std::pin::pin;
use std::task::Poll;

use bytes::Buf;
use wsroom::deflate::DeflateParams;
use wsroom::{Agreed, CloseCode, CloseFrame, Config, Connection, Message, Role, WebSocket};

use super::adapter::flooded_with;
use super::cancel::at_most;
use super::pipe::{Chance, Chopped};
use super::{once, pipe};

/// L7: a peer that sends little and has much inflated does not keep others from running.
#[tokio::test]
async fn a_flood_of_bombs_lets_other_tasks_run() {
    // As long as a message may be.
    let len = 1 << 20;
    for fragments in [false, true] {
        let (mut socket, _) = flooded_with(bomb(len), agreed(false));
        let mut turns = Vec::new();
        let mut inflated = 0;
        {
            let mut recv = pin!(async {
                loop {
                    if fragments {
                        let fragment = socket.recv_fragment().await.unwrap().unwrap();
                        inflated += fragment.payload.len();
                    } else {
                        inflated += socket.recv().await.unwrap().unwrap().len();
                    }
                    if inflated >= 64 * len {
                        break;
                    }
                }
            });
            while once(recv.as_mut()).await == Poll::Pending {
                turns.push(());
            }
        }
        let each = inflated / (1 + turns.len());
        assert!(each <= 4 << 20, "{each} bytes are inflated in one turn");
    }
}

/// O16: a send that is dropped was compressed and goes out, or was not begun.
#[tokio::test]
async fn sends_that_are_dropped_leave_the_compressor_and_the_wire_in_step() {
    for role in [Role::Client, Role::Server] {
        for seed in 0..20 {
            let (near, far) = pipe(300);
            let config = Config::default().write_mark(400).compression_threshold(0);
            let new = |stream, role| WebSocket::new(stream, role, agreed(true), config, &[]);
            let mut sender = new(near.chopped(seed), role);
            let peer = match role {
                Role::Client => Role::Server,
                Role::Server => Role::Client,
            };
            let receiving = tokio::spawn(drain(new(far.chopped(seed), peer)));
            let mut chance = Chance::new(seed);
            let mut accepted = Vec::new();
            for i in 0..60 {
                let message = Message::from(format!("{i} of the same words again and again"));
                let polls = chance.below(3);
                if chance.below(2) == 0 {
                    let fed = at_most(polls, sender.feed(message.clone())).await;
                    accepted.extend(fed.map(|_| message));
                } else {
                    // Where there is room, a send puts its message in before it waits.
                    while sender.connection().output_len() > 400 {
                        sender.flush().await.unwrap();
                    }
                    drop(at_most(polls, sender.send(message.clone())).await);
                    accepted.push(message);
                }
            }
            let frame = CloseFrame::from(CloseCode::NORMAL);
            assert!(sender.close(frame).await.unwrap().is_clean());
            assert_eq!(receiving.await.unwrap(), accepted, "{role:?}, seed {seed}");
        }
    }
}

async fn drain(mut socket: WebSocket<Chopped>) -> Vec<Message> {
    let mut got = Vec::new();
    while let Some(message) = socket.recv().await.unwrap() {
        got.push(message);
    }
    got
}

/// A frame of a client that inflates to `len` bytes.
fn bomb(len: usize) -> Vec<u8> {
    let config = Config::default().max_message_size(len);
    let mut client = Connection::new(Role::Client, agreed(false), config);
    client.send(vec![0; len]).unwrap();
    let len = client.output_len();
    client.output().copy_to_bytes(len).to_vec()
}

fn agreed(takes_over: bool) -> Agreed {
    Agreed::default().with_deflate(DeflateParams {
        server_no_context_takeover: !takes_over,
        client_no_context_takeover: !takes_over,
        server_max_window_bits: 15,
        client_max_window_bits: 15,
    })
}
