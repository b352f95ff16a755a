//! `rooms_server CONTESTANT PORT`: a server with one room, on one thread.
//!
//! It prints its port, and serves until it is killed. Who connects to `/publish` is no member, and
//! its messages go to all members; every other connection is a member.

use std::cell::RefCell;
use std::env;
use std::future::{Future, pending};
use std::io;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use sockudo_ws::pubsub::PubSub;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, mpsc};
use tokio::task::LocalSet;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite;
use tungstenite::handshake::derive_accept_key;
use tungstenite::handshake::server::{Request, Response};

type Result<T = (), E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

fn main() -> Result {
    let mut args = env::args().skip(1);
    let (Some(contestant), Some(port)) = (args.next(), args.next()) else {
        return Err("usage: rooms_server CONTESTANT PORT".into());
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(LocalSet::new().run_until(serve(contestant, port.parse()?)))
}

async fn serve(contestant: String, port: u16) -> Result {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    println!("{}", listener.local_addr()?.port());
    match &*contestant {
        "raw" => {
            let room = Rc::default();
            accept(listener, move |stream| raw(stream, Rc::clone(&room))).await
        }
        "by-hand" => {
            let room = Arc::default();
            accept(listener, move |stream| by_hand(stream, Arc::clone(&room))).await
        }
        "wsroom" | "wsroom-all" => {
            let hub = wsroom::Hub::new();
            let all = contestant.ends_with("all");
            accept(listener, move |stream| {
                wsroom_room(stream, hub.clone(), all)
            })
            .await
        }
        "tungstenite" | "tungstenite-batched" => {
            let room = broadcast::Sender::new(CAPACITY);
            let batched = contestant.ends_with("batched");
            accept(listener, move |stream| {
                tungstenite_room(stream, room.clone(), batched)
            })
            .await
        }
        "ws-kit" | "ws-kit-batched" => {
            let room = Arc::new(ws_kit::room::Room::new("room", CAPACITY));
            let batched = contestant.ends_with("batched");
            accept(listener, move |stream| {
                ws_kit_room(stream, Arc::clone(&room), batched)
            })
            .await
        }
        "sockudo" => {
            let room = Arc::default();
            accept(listener, move |stream| sockudo(stream, Arc::clone(&room))).await
        }
        "sockudo-batched" => {
            let room = Arc::default();
            accept(listener, move |stream| {
                sockudo_batched(stream, Arc::clone(&room))
            })
            .await
        }
        _ => Err(format!("there is no contestant {contestant}").into()),
    }
}

/// How many messages a broadcast channel holds: the default of `ws-kit`.
const CAPACITY: usize = 1024;

/// A task for each connection.
async fn accept<F>(listener: TcpListener, serve: impl Fn(TcpStream) -> F) -> Result
where
    F: Future<Output = Result> + 'static,
{
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        // An error is the reset at the end of a run.
        tokio::task::spawn_local(serve(stream));
    }
}

/// The control: each message is encoded once and written to one socket after the other.
async fn raw(mut stream: TcpStream, room: Rc<RefCell<Vec<TcpStream>>>) -> Result {
    if handshake(&mut stream).await? != "/publish" {
        room.borrow_mut().push(stream);
        return Ok(());
    }
    let mut input = Vec::new();
    while stream.read_buf(&mut input).await? > 0 {
        take_texts(&mut input, |text| {
            let frame = encode(text);
            for member in room.borrow().iter() {
                let written = member.try_write(&frame)?;
                assert_eq!(written, frame.len(), "the socket's buffer is large enough");
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// A room as one writes it by hand, with care: a queue of encoded frames and a task for each
/// member, which writes all that has queued up at once.
async fn by_hand(
    mut stream: TcpStream,
    room: Arc<Mutex<Vec<mpsc::UnboundedSender<Bytes>>>>,
) -> Result {
    let publishes = handshake(&mut stream).await? == "/publish";
    let (mut reader, mut writer) = stream.into_split();
    if !publishes {
        let (sender, mut receiver) = mpsc::unbounded_channel::<Bytes>();
        room.lock().expect("nobody panics").push(sender);
        tokio::spawn(async move {
            let mut batch = Vec::new();
            let mut output = Vec::new();
            while receiver.recv_many(&mut batch, 64).await > 0 {
                output.clear();
                for frame in batch.drain(..) {
                    output.extend_from_slice(&frame);
                }
                if writer.write_all(&output).await.is_err() {
                    break;
                }
            }
        });
    }
    let mut input = Vec::new();
    while reader.read_buf(&mut input).await? > 0 {
        take_texts(&mut input, |text| {
            let frame = Bytes::from(encode(text));
            for member in room.lock().expect("nobody panics").iter() {
                let _ = member.send(frame.clone());
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// One message after the other, or all that have come.
async fn wsroom_room(stream: TcpStream, hub: wsroom::Hub, all: bool) -> Result {
    let upgrade = wsroom::Upgrade::default();
    let incoming = wsroom::Incoming::read(stream, &upgrade).await?;
    let publishes = incoming.request().uri().path() == "/publish";
    let socket = incoming.accept(&upgrade, wsroom::Config::default()).await?;
    let mut session = wsroom::Session::spawn(socket);
    let member = hub.attach(session.outbox().clone());
    if !publishes {
        member.join("room")?;
    }
    if all {
        let mut messages = Vec::new();
        while session.recv_many(&mut messages, 64).await? > 0 {
            member.to("room").send_all(messages.drain(..));
        }
    } else {
        while let Some(message) = session.recv().await? {
            member.to("room").send(message);
        }
    }
    Ok(())
}

async fn tungstenite_room(
    stream: TcpStream,
    room: broadcast::Sender<tungstenite::Message>,
    batched: bool,
) -> Result {
    let (mut socket, publishes) = tungstenite_accept(stream).await?;
    let mut receiver = (!publishes).then(|| room.subscribe());
    loop {
        tokio::select! {
            message = socket.next() => match message {
                Some(message) => {
                    let message = message?;
                    if message.is_text() {
                        room.send(message)?;
                    }
                }
                None => return Ok(()),
            },
            message = next(&mut receiver) => {
                socket.feed(message?).await?;
                while batched && let Some(Ok(message)) = receiver.as_mut().map(|it| it.try_recv()) {
                    socket.feed(message).await?;
                }
                socket.flush().await?;
            }
        }
    }
}

async fn ws_kit_room(stream: TcpStream, room: Arc<ws_kit::room::Room>, batched: bool) -> Result {
    let (mut socket, publishes) = tungstenite_accept(stream).await?;
    let mut receiver = (!publishes).then(|| room.subscribe());
    let message = |frame: ws_kit::codec::Frame| frame.into_text().map(tungstenite::Message::from);
    loop {
        tokio::select! {
            message = socket.next() => match message {
                Some(message) => {
                    if let tungstenite::Message::Text(text) = message? {
                        room.broadcast(text.as_str())?;
                    }
                }
                None => return Ok(()),
            },
            frame = next(&mut receiver) => {
                socket.feed(message(frame?)?).await?;
                while batched && let Some(Ok(frame)) = receiver.as_mut().map(|it| it.try_recv()) {
                    socket.feed(message(frame)?).await?;
                }
                socket.flush().await?;
            }
        }
    }
}

async fn tungstenite_accept(stream: TcpStream) -> Result<(WebSocketStream<TcpStream>, bool)> {
    let mut publishes = false;
    #[expect(clippy::result_large_err, reason = "the callback's type is given")]
    let look = |request: &Request, response: Response| {
        publishes = request.uri().path() == "/publish";
        Ok(response)
    };
    let socket = tokio_tungstenite::accept_hdr_async(stream, look).await?;
    Ok((socket, publishes))
}

/// The next of a room, for a member.
async fn next<T: Clone>(
    receiver: &mut Option<broadcast::Receiver<T>>,
) -> Result<T, broadcast::error::RecvError> {
    match receiver {
        Some(receiver) => receiver.recv().await,
        None => pending().await,
    }
}

/// As in its example for pubsub: a split socket, and a `send` for each message.
async fn sockudo(stream: TcpStream, room: Arc<PubSub>) -> Result {
    let (socket, publishes) = sockudo_accept(stream).await?;
    let (mut reader, mut writer) = socket.split();
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let id = room.create_subscriber(sender);
    if !publishes {
        room.subscribe(id, "room");
    }
    loop {
        tokio::select! {
            message = reader.next() => match message {
                Some(message) => sockudo_publish(&room, id, message?),
                None => break,
            },
            Some(message) = receiver.recv() => writer.send(message).await?,
        }
    }
    room.remove_subscriber(id);
    Ok(())
}

/// The whole socket, and a `flush` after all that has queued up.
async fn sockudo_batched(stream: TcpStream, room: Arc<PubSub>) -> Result {
    let (mut socket, publishes) = sockudo_accept(stream).await?;
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let id = room.create_subscriber(sender);
    if !publishes {
        room.subscribe(id, "room");
    }
    loop {
        tokio::select! {
            message = socket.next() => match message {
                Some(message) => sockudo_publish(&room, id, message?),
                None => break,
            },
            Some(message) = receiver.recv() => {
                socket.feed(message).await?;
                while let Ok(message) = receiver.try_recv() {
                    socket.feed(message).await?;
                }
                socket.flush().await?;
            }
        }
    }
    room.remove_subscriber(id);
    Ok(())
}

fn sockudo_publish(
    room: &PubSub,
    from: sockudo_ws::pubsub::SubscriberId,
    message: sockudo_ws::Message,
) {
    if let sockudo_ws::Message::Text(_) = message {
        room.publish_excluding(from, "room", message);
    }
}

async fn sockudo_accept(
    stream: TcpStream,
) -> Result<(sockudo_ws::WebSocketStream<TcpStream>, bool)> {
    let server = sockudo_ws::server::WebSocketServer::new(sockudo_ws::Config::default());
    let server: sockudo_ws::server::WebSocketServer<sockudo_ws::Http1> = server;
    let (socket, handshake) = server.accept_raw(stream).await?;
    Ok((socket, handshake.path == "/publish"))
}

/// The opening handshake of the servers without a crate, which gives the path.
async fn handshake(stream: &mut TcpStream) -> Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut head).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
    }
    let head = String::from_utf8(head)?;
    let path = head.split(' ').nth(1).ok_or("no path")?;
    let mut headers = head.lines().filter_map(|line| line.split_once(": "));
    let key = headers.find(|(name, _)| *name == "Sec-WebSocket-Key");
    let (_, key) = key.ok_or("no key")?;
    let response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        derive_accept_key(key.as_bytes()),
    );
    stream.write_all(response.as_bytes()).await?;
    Ok(path.to_owned())
}

/// Takes the messages off the front of `input` that lie whole in it: masked, in one frame, of 126
/// to 65,535 bytes, which is all that the load sends.
fn take_texts(input: &mut Vec<u8>, mut give: impl FnMut(&[u8]) -> io::Result<()>) -> Result {
    let mut start = 0;
    while let [0x81, 0xfe, high, low, k0, k1, k2, k3, ..] = input[start..] {
        let len = usize::from(u16::from_be_bytes([high, low]));
        let Some(payload) = input.get_mut(start + 8..start + 8 + len) else {
            break;
        };
        let key = [k0, k1, k2, k3].into_iter().cycle();
        payload
            .iter_mut()
            .zip(key)
            .for_each(|(byte, key)| *byte ^= key);
        simdutf8::basic::from_utf8(payload)?;
        give(payload)?;
        start += 8 + len;
    }
    input.drain(..start);
    Ok(())
}

fn encode(text: &[u8]) -> Vec<u8> {
    let len = u16::try_from(text.len()).expect("as it came");
    let mut frame = vec![0x81, 126];
    frame.extend_from_slice(&len.to_be_bytes());
    frame.extend_from_slice(text);
    frame
}
