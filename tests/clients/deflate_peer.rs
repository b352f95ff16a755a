//! The peer that real clients and servers compress messages with.
//!
//! ```text
//! cargo run --release --features deflate --example deflate_peer -- serve PORT [OPTION...]
//! cargo run --release --features deflate --example deflate_peer -- connect URL [OPTION...]
//!
//!   --server-no-context-takeover   --server-max-window-bits N
//!   --client-no-context-takeover   --client-max-window-bits N
//! ```
//!
//! `serve` listens on 127.0.0.1 and echoes. `connect` sends messages of all kinds to a server that
//! echoes, and fails if one comes back changed or if nothing was agreed on.

use std::error::Error;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::net::{TcpListener, TcpStream};
use wsroom::deflate::Deflate;
use wsroom::frame::OpCode;
use wsroom::{Config, Fragment, Incoming, Message, Upgrade, WebSocket};

const USAGE: &str = "usage: deflate_peer serve PORT | connect URL [OPTION...]";

/// Around each form of a length on the wire, and more than a window.
const SIZES: [usize; 7] = [0, 1, 125, 126, 65_535, 65_536, 300_000];

/// Less than the smallest window, so that a message repeated is always in reach.
const REPEATED: usize = 200;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(mode), Some(target)) = (args.next(), args.next()) else {
        return Err(USAGE.into());
    };
    let upgrade = Upgrade::default().deflate(options(args)?);
    // Whatever its length, a message goes through the compressor.
    let config = Config::default().compression_threshold(0);
    match &*mode {
        "serve" => serve(target.parse()?, upgrade, config).await,
        "connect" => connect(&target, &upgrade, config).await,
        _ => Err(USAGE.into()),
    }
}

fn options(mut args: impl Iterator<Item = String>) -> Result<Deflate, Box<dyn Error>> {
    let mut deflate = Deflate::default();
    while let Some(option) = args.next() {
        let mut bits = || -> Result<u8, Box<dyn Error>> {
            Ok(args.next().ok_or("window bits are missing")?.parse()?)
        };
        deflate = match &*option {
            "--server-no-context-takeover" => deflate.server_no_context_takeover(),
            "--client-no-context-takeover" => deflate.client_no_context_takeover(),
            "--server-max-window-bits" => deflate.server_max_window_bits(bits()?),
            "--client-max-window-bits" => deflate.client_max_window_bits(bits()?),
            _ => return Err(format!("unknown option {option}").into()),
        };
    }
    Ok(deflate)
}

async fn serve(port: u16, upgrade: Upgrade, config: Config) -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (stream, peer) = listener.accept().await?;
        let upgrade = upgrade.clone();
        tokio::spawn(async move {
            if let Err(error) = echo(stream, &upgrade, config).await {
                eprintln!("{peer}: {error}");
            }
        });
    }
}

async fn echo(stream: TcpStream, upgrade: &Upgrade, config: Config) -> Result<(), wsroom::Error> {
    stream.set_nodelay(true)?;
    let incoming = Incoming::read(stream, upgrade).await?;
    let mut socket = incoming.accept(upgrade, config).await?;
    while let Some(message) = socket.recv().await? {
        socket.feed(message).await?;
    }
    Ok(())
}

async fn connect(url: &str, upgrade: &Upgrade, config: Config) -> Result<(), Box<dyn Error>> {
    let (mut socket, response) = wsroom::net::connect_with(url, upgrade, config).await?;
    let agreed = response.headers().get("sec-websocket-extensions");
    println!("agreed: {}", agreed.ok_or("no compression")?.to_str()?);

    let messages = messages();
    for (index, message) in messages.iter().enumerate() {
        socket.send(message.clone()).await?;
        expect(&mut socket, message, index).await?;
        send_in_pieces(&mut socket, message).await?;
        expect(&mut socket, message, index).await?;
    }
    // Several messages on their way in each direction.
    let short = || {
        messages
            .iter()
            .enumerate()
            .filter(|(_, m)| m.len() <= REPEATED)
    };
    for (_, message) in short() {
        socket.feed(message.clone()).await?;
    }
    for (index, message) in short() {
        expect(&mut socket, message, index).await?;
    }
    socket.close(None).await?;
    println!("{} messages ok", 2 * messages.len() + short().count());
    Ok(())
}

async fn expect(
    socket: &mut WebSocket<TcpStream>,
    sent: &Message,
    index: usize,
) -> Result<(), Box<dyn Error>> {
    match socket.recv().await? {
        Some(message) if message == *sent => Ok(()),
        other => Err(format!("message {index}, {sent:?}, came back as {other:?}").into()),
    }
}

/// Sends a message in five fragments, which may cut its characters.
async fn send_in_pieces(
    socket: &mut WebSocket<TcpStream>,
    message: &Message,
) -> Result<(), wsroom::Error> {
    let mut rest = Bytes::copy_from_slice(message.as_bytes());
    let size = rest.len() / 4;
    for piece in 0..5 {
        let fin = piece == 4;
        let opcode = match message {
            _ if piece > 0 => OpCode::Continuation,
            Message::Text(_) => OpCode::Text,
            Message::Binary(_) => OpCode::Binary,
        };
        let fragment = Fragment {
            opcode,
            fin,
            payload: rest.split_to(if fin { rest.len() } else { size }),
        };
        socket.feed_fragment(&fragment).await?;
    }
    socket.flush().await
}

/// Texts and binaries of every size, what compresses well and what does not at all, and some of
/// them again and again, the same in every run.
fn messages() -> Vec<Message> {
    let mut random = StdRng::seed_from_u64(1);
    let mut messages = Vec::new();
    for size in SIZES {
        messages.push(Message::text(prose(size, &mut random)));
        messages.push(Message::text(noise(size, &mut random)));
        messages.push(Message::binary(vec![7; size]));
        messages.push(Message::binary(bytes(size, &mut random)));
    }
    let repeated = [
        Message::text(noise(REPEATED, &mut random)),
        Message::binary(bytes(REPEATED, &mut random)),
    ];
    for _ in 0..20 {
        messages.extend_from_slice(&repeated);
    }
    messages
}

fn prose(size: usize, random: &mut StdRng) -> String {
    const WORDS: [&str; 8] = [
        "room ",
        "grüße ",
        "member ",
        "broadcast ",
        "😀 ",
        "window ",
        "of ",
        "the ",
    ];
    let mut text = String::new();
    while text.len() < size {
        text += WORDS[random.random_range(0..WORDS.len())];
    }
    while text.len() > size {
        text.pop();
    }
    let missing = size - text.len();
    text + &"x".repeat(missing)
}

fn noise(size: usize, random: &mut StdRng) -> String {
    let characters = (0..size).map(|_| random.random_range(' '..='~'));
    characters.collect()
}

fn bytes(size: usize, random: &mut StdRng) -> Vec<u8> {
    (0..size).map(|_| random.random()).collect()
}
