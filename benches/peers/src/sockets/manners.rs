//! What every server has to do beside echoing; whoever doesn't would be faster without merit.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::client::{encode, open};

/// The longest message that a server takes.
const MAX_MESSAGE: usize = 1 << 20;

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// Checks that a server echoes, answers a Ping and a Close, and takes neither text that isn't UTF-8
/// (§8.1) nor a message that is too long.
///
/// # Panics
///
/// Panics if it doesn't.
pub fn check(address: SocketAddr) {
    let key = Some(rand::random());
    let mut stream = connect(address);
    stream
        .write_all(&encode(TEXT, "grüße".as_bytes(), key))
        .expect("it reads");
    expect(&mut stream, &encode(TEXT, "grüße".as_bytes(), None));
    let longest = encode(BINARY, &vec![b'a'; MAX_MESSAGE], key);
    let reply = encode(BINARY, &vec![b'a'; MAX_MESSAGE], None);
    let mut writer = stream.try_clone().expect("a socket");
    std::thread::scope(|scope| {
        scope.spawn(|| writer.write_all(&longest).expect("it reads"));
        expect(&mut stream, &reply);
    });
    stream
        .write_all(&encode(PING, b"ping", key))
        .expect("it reads");
    // Some write a Pong only with the next message.
    stream
        .write_all(&encode(BINARY, b"\xff", key))
        .expect("it reads");
    expect(&mut stream, &encode(PONG, b"ping", None));
    expect(&mut stream, &encode(BINARY, b"\xff", None));
    stream
        .write_all(&encode(CLOSE, &1000_u16.to_be_bytes(), key))
        .expect("it reads");
    let mut close = [0; 1];
    stream.read_exact(&mut close).expect("it answers a Close");
    assert_eq!(close[0], 0x80 | CLOSE, "it answers a Close");

    let too_long = vec![b'a'; MAX_MESSAGE + 1];
    for refused in [b"\xffnot text".as_slice(), &too_long] {
        let mut stream = connect(address);
        // The connection may end before all is written.
        let _ = stream.write_all(&encode(TEXT, refused, key));
        let mut answer = [0; 1];
        let answered = stream.read(&mut answer).is_ok_and(|read| read > 0);
        assert!(
            !answered || answer[0] == 0x80 | CLOSE,
            "it takes what it must refuse"
        );
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = open(address, 0, false);
    let patience = Some(Duration::from_secs(5));
    stream.set_read_timeout(patience).expect("a socket");
    stream.set_write_timeout(patience).expect("a socket");
    stream
}

fn expect(stream: &mut TcpStream, frame: &[u8]) {
    let mut read = vec![0; frame.len()];
    stream.read_exact(&mut read).expect("it answers");
    assert_eq!(read, frame, "it answers otherwise");
}
