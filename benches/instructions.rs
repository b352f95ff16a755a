//! How many instructions the hot paths take, counted by Callgrind: a bound that noise cannot break.
//!
//! `benches/instructions` runs it and compares; see there. Where messages are handled, there are 64
//! of them.

#![expect(
    missing_docs,
    unused_qualifications,
    reason = "the attributes write modules without docs, and paths longer than they need be"
)]

mod common;

use std::hint::black_box;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes};
use gungraun::{library_benchmark, library_benchmark_group, main};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use wsroom::deflate::DeflateParams;
use wsroom::frame::MaskKey;
use wsroom::handshake::{RequestHead, encode_accepted};
use wsroom::net::Answers;
use wsroom::outbox::{self, Batch, OutboxLimits, OutboxReader};
use wsroom::{Agreed, Config, Connection, Event, Hub, Member, Message, Role, Upgrade, WebSocket};

const MESSAGES: usize = 64;

/// A server, and frames for it.
fn frames(message: Message) -> (Connection, Vec<u8>) {
    let wire = common::wire(Role::Client, &message, MESSAGES);
    (common::connection(Role::Server), wire)
}

#[library_benchmark]
#[bench::binary_8(args = (common::binary(8)), setup = frames)]
#[bench::binary_64(args = (common::binary(64)), setup = frames)]
#[bench::binary_125(args = (common::binary(125)), setup = frames)]
#[bench::binary_1024(args = (common::binary(1024)), setup = frames)]
#[bench::text_64(args = (common::ascii(64)), setup = frames)]
#[bench::mixed_text_64(args = (common::mixed(64)), setup = frames)]
fn receive((mut connection, mut wire): (Connection, Vec<u8>)) -> (Connection, Vec<u8>) {
    let mut input = &mut wire[..];
    for _ in 0..MESSAGES {
        let event = connection
            .receive(&mut input)
            .expect("the frames are legal");
        assert!(matches!(
            black_box(event),
            Some(Event::Text(_) | Event::Binary(_))
        ));
    }
    (connection, wire)
}

/// Frames that come in one read, or in several if they do not fit.
struct Stream(Bytes);

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let len = self.0.len().min(buffer.remaining());
        buffer.put_slice(&self.0.split_to(len));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A server that has nothing to read yet, in a thread that has read before.
fn socket(message: Message) -> WebSocket<Stream> {
    let wire = Bytes::from(common::wire(Role::Client, &message, MESSAGES));
    let socket = || {
        let stream = Stream(wire.clone());
        WebSocket::new(
            stream,
            Role::Server,
            Agreed::default(),
            Config::default(),
            &[],
        )
    };
    recv_all(&mut socket());
    socket()
}

#[library_benchmark]
#[bench::binary_8(args = (common::binary(8)), setup = socket)]
#[bench::binary_64(args = (common::binary(64)), setup = socket)]
fn recv(mut socket: WebSocket<Stream>) -> WebSocket<Stream> {
    recv_all(&mut socket);
    socket
}

// Every message answered with itself, and the end of the stream.
#[library_benchmark]
#[bench::binary_64(args = (common::binary(64)), setup = socket_to_answer)]
fn recv_each(mut socket: WebSocket<Stream>) -> WebSocket<Stream> {
    answer_all(&mut socket);
    socket
}

fn socket_to_answer(message: Message) -> WebSocket<Stream> {
    answer_all(&mut socket(message.clone()));
    socket(message)
}

fn answer_all(socket: &mut WebSocket<Stream>) {
    let mut context = Context::from_waker(Waker::noop());
    let mut count = 0;
    let echo = |event: Event<'_>, answers: &mut Answers<'_>| {
        if let Event::Binary(payload) = event {
            count += 1;
            answers.send_binary(&payload).expect("it is open");
        }
    };
    let ended = std::pin::pin!(socket.recv_each(echo)).poll(&mut context);
    assert!(matches!(
        ended,
        Poll::Ready(Err(wsroom::Error::ConnectionLost))
    ));
    assert_eq!(count, MESSAGES);
}

fn recv_all(socket: &mut WebSocket<Stream>) {
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..MESSAGES {
        let message = std::pin::pin!(socket.recv()).poll(&mut context);
        assert!(matches!(black_box(message), Poll::Ready(Ok(Some(_)))));
    }
}

/// An end with an output of a size as it has after a while, and a message for it.
fn sender(role: Role, message: Message) -> (Connection, Message) {
    let mut connection = common::connection(role);
    connection.fix_mask_key(MaskKey::new([1, 2, 3, 4]));
    send_all(&mut connection, &message);
    (connection, message)
}

#[library_benchmark]
#[bench::server_64(args = (Role::Server, common::binary(64)), setup = sender)]
#[bench::client_64(args = (Role::Client, common::binary(64)), setup = sender)]
fn send((mut connection, message): (Connection, Message)) -> (Connection, Message) {
    send_all(&mut connection, &message);
    (connection, message)
}

fn send_all(connection: &mut Connection, message: &Message) {
    for _ in 0..MESSAGES {
        let message = black_box(message.clone());
        connection.send(message).expect("it is open");
    }
    write(connection);
}

fn write(connection: &mut Connection) {
    let output = connection.output();
    while output.has_remaining() {
        let len = black_box(output.chunk()).len();
        output.advance(len);
    }
}

/// A member with what its task would own.
struct Listener {
    reader: OutboxReader,
    batch: Batch,
    connection: Connection,
    _member: Member,
}

fn room() -> (Hub, Vec<Listener>) {
    let hub = Hub::new();
    let listeners = (0..100).map(|_| {
        let (outbox, reader) = outbox::channel(OutboxLimits::default());
        let member = hub.attach(outbox);
        member.join("room").expect("there is room");
        let connection = common::connection(Role::Server);
        Listener {
            reader,
            batch: Batch::default(),
            connection,
            _member: member,
        }
    });
    let mut listeners: Vec<_> = listeners.collect();
    deliver(&hub, &mut listeners, 1);
    (hub, listeners)
}

// One message to 100 members, queued and put into the output of each.
#[library_benchmark]
#[bench::to_100(setup = room)]
fn broadcast((hub, mut listeners): (Hub, Vec<Listener>)) -> (Hub, Vec<Listener>) {
    deliver(&hub, &mut listeners, 1);
    (hub, listeners)
}

// 16 messages together to 100 members, the same way.
#[library_benchmark]
#[bench::of_16_to_100(setup = room)]
fn broadcast_all((hub, mut listeners): (Hub, Vec<Listener>)) -> (Hub, Vec<Listener>) {
    deliver(&hub, &mut listeners, 16);
    (hub, listeners)
}

fn deliver(hub: &Hub, listeners: &mut [Listener], count: usize) {
    let messages = (0..count).map(|_| black_box(common::binary(64)));
    let report = hub.to("room").send_all(messages);
    assert_eq!(report.queued, listeners.len());
    let mut context = Context::from_waker(Waker::noop());
    for listener in listeners {
        let batch = &mut listener.batch;
        assert!(
            listener
                .reader
                .poll_take(&mut context, usize::MAX, batch)
                .is_ready()
        );
        for outgoing in batch.by_ref() {
            outgoing.send(&mut listener.connection).expect("it is open");
        }
        write(&mut listener.connection);
    }
}

/// The request of §1.2.
const REQUEST: &[u8] = b"GET /chat HTTP/1.1\r\n\
    Host: server.example.com\r\n\
    Upgrade: websocket\r\n\
    Connection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Origin: http://example.com\r\n\
    Sec-WebSocket-Protocol: chat, superchat\r\n\
    Sec-WebSocket-Version: 13\r\n\r\n";

#[library_benchmark]
#[bench::server(Upgrade::default().protocols(["chat"]))]
fn accept(upgrade: Upgrade) -> (Upgrade, Agreed, Bytes) {
    let mut input = black_box(REQUEST);
    let head = RequestHead::new(&upgrade).receive(&mut input);
    let request = head.expect("it is legal").expect("it is whole");
    let (response, agreed) = upgrade.accept(&request).expect("it is legal");
    let encoded = encode_accepted(&request, &response);
    (upgrade, agreed, encoded)
}

fn compressing(role: Role) -> Connection {
    let params = DeflateParams {
        server_no_context_takeover: false,
        client_no_context_takeover: false,
        server_max_window_bits: 15,
        client_max_window_bits: 15,
    };
    Connection::new(
        role,
        Agreed::default().with_deflate(params),
        Config::default(),
    )
}

fn compressible() -> Message {
    let line = |i: usize| {
        format!(
            "{{\"id\":{i},\"x\":{},\"y\":{}}}",
            i * 7919 % 997,
            i * 31 % 89
        )
    };
    let mut text = (0..).map(line).take(64).collect::<String>();
    text.truncate(1024);
    text.into()
}

/// A server that has compressed before, and a message.
fn deflating() -> (Connection, Message) {
    let mut server = compressing(Role::Server);
    server.send(compressible()).expect("it is open");
    write(&mut server);
    (server, compressible())
}

// One message.
#[library_benchmark]
#[bench::text_1024(setup = deflating)]
fn deflate((mut server, message): (Connection, Message)) -> Connection {
    server.send(message).expect("it is open");
    write(&mut server);
    server
}

/// A client that has inflated before, and a frame.
fn inflating() -> (Connection, Vec<u8>) {
    let (mut server, mut client) = (compressing(Role::Server), compressing(Role::Client));
    let mut frame = || {
        let mut wire = Vec::new();
        server.send(compressible()).expect("it is open");
        common::drain_into(&mut server, &mut wire);
        wire
    };
    let (first, second) = (frame(), frame());
    take(&mut client, first);
    (client, second)
}

// One message.
#[library_benchmark]
#[bench::text_1024(setup = inflating)]
fn inflate((mut client, wire): (Connection, Vec<u8>)) -> Connection {
    take(&mut client, wire);
    client
}

fn take(client: &mut Connection, mut wire: Vec<u8>) {
    let event = client
        .receive(&mut &mut wire[..])
        .expect("the frames are legal");
    assert!(matches!(black_box(event), Some(Event::Text(_))));
}

library_benchmark_group!(
    name = paths,
    benchmarks = [
        receive,
        recv,
        recv_each,
        send,
        broadcast,
        broadcast_all,
        accept,
        deflate,
        inflate
    ]
);

main!(library_benchmark_groups = paths);
