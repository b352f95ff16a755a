//! A client's end, as far as the load needs one: the opening handshake, and frames.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;

use socket2::{Domain, Socket, Type};

/// Text or binary.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Printable ASCII.
    Text,
    /// Any bytes.
    Binary,
}

/// A message of random bytes as a client's frame with a random mask key, and as a server's (§5.2).
pub fn frame(kind: Kind, size: usize) -> (Vec<u8>, Vec<u8>) {
    let mut payload = vec![0; size];
    rand::fill(&mut payload[..]);
    if kind == Kind::Text {
        for byte in &mut payload {
            *byte = b' ' + *byte % 95;
        }
    }
    let opcode = match kind {
        Kind::Text => 1,
        Kind::Binary => 2,
    };
    (
        encode(opcode, &payload, Some(rand::random())),
        encode(opcode, &payload, None),
    )
}

/// Encodes one final frame.
pub fn encode(opcode: u8, payload: &[u8], key: Option<[u8; 4]>) -> Vec<u8> {
    let masked = if key.is_some() { 0x80 } else { 0 };
    let mut frame = vec![0x80 | opcode];
    match payload.len() {
        size @ ..126 => frame.push(masked | size as u8),
        size @ 126..0x1_0000 => {
            frame.push(masked | 126);
            frame.extend((size as u16).to_be_bytes());
        }
        size => {
            frame.push(masked | 127);
            frame.extend((size as u64).to_be_bytes());
        }
    }
    match key {
        None => frame.extend(payload),
        Some(key) => {
            frame.extend(key);
            frame.extend(payload.iter().zip(key.iter().cycle()).map(|(a, b)| a ^ b));
        }
    }
    frame
}

/// The request, with the key that the RFC uses as its example (§1.3).
pub const REQUEST: &str = "GET / HTTP/1.1\r\n\
    Host: 127.0.0.1\r\n\
    Upgrade: websocket\r\n\
    Connection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\n\r\n";

/// What a server makes of that key.
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Checks the head of a response, which has to be complete.
///
/// # Panics
///
/// Panics if it is none that opens a WebSocket.
pub fn check_response(head: &[u8]) {
    let head = String::from_utf8_lossy(head);
    let accepted = head.lines().any(|line| {
        line.split_once(':').is_some_and(|(name, value)| {
            name.eq_ignore_ascii_case("Sec-WebSocket-Accept") && value.trim() == ACCEPT
        })
    });
    assert!(
        head.starts_with("HTTP/1.1 101 ") && accepted,
        "refused: {head}"
    );
}

/// A socket that is bound to one of several addresses of this machine by `index`, so that the ports
/// of one address don't run out.
pub fn socket(index: usize) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("files are left");
    socket.set_tcp_nodelay(true).expect("a socket");
    // The port is chosen at connect, when both ends are known.
    let (yes, fd) = (1_i32, socket.as_raw_fd());
    let set = unsafe {
        let (level, option) = (libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT);
        libc::setsockopt(fd, level, option, (&raw const yes).cast(), 4)
    };
    assert_eq!(set, 0, "a socket");
    let source = Ipv4Addr::new(127, 0, 0, 2 + (index % 64) as u8);
    let source = SocketAddr::from((source, 0));
    socket
        .bind(&source.into())
        .expect("an address of this machine");
    socket
}

/// Connects and, unless the server is raw, opens a WebSocket.
pub fn open(address: SocketAddr, index: usize, raw: bool) -> TcpStream {
    let socket = socket(index);
    socket.connect(&address.into()).expect("the server listens");
    let mut stream = TcpStream::from(socket);
    if !raw {
        stream
            .write_all(REQUEST.as_bytes())
            .expect("the server reads");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut buffer = [0; 1024];
            let read = stream.read(&mut buffer).expect("the server answers");
            assert!(read > 0, "the server ended the handshake");
            head.extend(&buffer[..read]);
        }
        check_response(&head);
    }
    stream
}
