//! Opening: each event at both ends, over a stream in memory and a clock that stands still.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use wsroom::handshake::{HandshakeError, RequestHead, encode_accepted};
use wsroom::protocol::State;
use wsroom::{Config, Connection, Error, Role, Upgrade};

use super::table;

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Longer than an end lingers, shorter than its deadline.
const A_WHILE: Duration = Duration::from_secs(5);

struct Opening {
    /// Gives nothing once it is open, or why not.
    task: JoinHandle<Option<String>>,
    peer: DuplexStream,
    /// What a client wrote when it began.
    request: Vec<u8>,
}

#[tokio::test(start_paused = true)]
async fn every_event_of_the_opening_does_what_the_table_says() {
    let rows = table(&["event", "Client", "Server"]);
    assert_eq!(rows.len(), 9);
    for row in rows {
        for (role, cell) in [Role::Client, Role::Server].into_iter().zip(&row.cells) {
            for input in inputs(row.event, role) {
                let said = Opening::begin(role).await.act(row.event, &input).await;
                assert_eq!(said.join(", "), *cell, "{}: {role:?}, {input:?}", row.event);
            }
        }
    }
}

/// A connection begins where the opening ends.
#[test]
fn a_new_connection_is_open() {
    let connection = Connection::new(Role::Client, Default::default(), Config::default());
    assert_eq!(connection.state(), State::Open);
}

/// The bytes that are such an event, in each of several ways.
fn inputs(event: &str, role: Role) -> Vec<String> {
    let response = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Accept: ";
    let inputs: &[&str] = match (event, role) {
        ("it begins" | "the stream ends before a head" | "the deadline passes", _) => &[""],
        ("a head comes that is right", Role::Client) => &["the answer to its request"],
        ("a head comes that is right", Role::Server) => &[REQUEST],
        ("a part of a head comes" | "the stream ends inside a head", Role::Client) => {
            &["H", "HTTP/1.1 101 Swi", response]
        }
        ("a part of a head comes" | "the stream ends inside a head", Role::Server) => {
            &["G", "GET / HTTP/1.1\r\n", &REQUEST[..REQUEST.len() - 1]]
        }
        ("a head comes that breaks a rule", Role::Client) => &[
            "RTSP/1.0 200 OK\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\n\r\n",
            &[response, "dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"].concat(),
        ],
        ("a head comes that breaks a rule", Role::Server) => &[
            "GET / HTTP/1.1\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\n\r\n",
            &REQUEST.replace("13", "12"),
            &REQUEST.replace("GET", "G\0T"),
        ],
        ("an interim response comes", Role::Client) => &["HTTP/1.1 103 Early Hints\r\n\r\n"],
        ("a response comes that is no 101", Role::Client) => &[
            "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        ],
        // A server gets requests only.
        ("an interim response comes" | "a response comes that is no 101", Role::Server) => &[""],
        _ => panic!("{event} is not known"),
    };
    inputs.iter().map(|&input| input.to_owned()).collect()
}

impl Opening {
    async fn begin(role: Role) -> Self {
        let (near, mut peer) = duplex(10_000);
        let task = tokio::spawn(async move {
            let upgrade = Upgrade::default();
            let opened = match role {
                Role::Client => {
                    let url = "ws://a/";
                    wsroom::net::connect_over(near, url, &upgrade, Config::default())
                        .await
                        .map(drop)
                }
                Role::Server => wsroom::net::accept_with(near, &upgrade, Config::default())
                    .await
                    .map(drop),
            };
            opened.err().map(|error| match error {
                Error::Handshake(error) => name(&error),
                error => format!("{error:?}"),
            })
        });
        let mut request = Vec::new();
        while role == Role::Client && !request.ends_with(b"\r\n\r\n") {
            request.push(peer.read_u8().await.unwrap());
        }
        Self {
            task,
            peer,
            request,
        }
    }

    async fn act(mut self, event: &str, input: &str) -> Vec<String> {
        let mut said = Vec::new();
        match event {
            "it begins" => said.extend((!self.request.is_empty()).then(|| "+ request".into())),
            "a head comes that is right" if !self.request.is_empty() => {
                let response = answer(&self.request);
                self.peer.write_all(&response).await.unwrap();
            }
            _ => self.peer.write_all(input.as_bytes()).await.unwrap(),
        }
        let mut time = A_WHILE;
        match event {
            "the stream ends before a head" | "the stream ends inside a head" => {
                self.peer.shutdown().await.unwrap()
            }
            "the deadline passes" => time += Upgrade::default().time_limit(),
            _ => {}
        }
        let Ok(ended) = timeout(time, &mut self.task).await else {
            return said;
        };
        let error = ended.unwrap();
        let is_open = error.is_none();
        said.extend(error.map(|name| match event {
            "a head comes that breaks a rule" => "Err".into(),
            _ => format!("Err({name})"),
        }));
        let mut written = Vec::new();
        self.peer.read_to_end(&mut written).await.unwrap();
        let status = written.strip_prefix(b"HTTP/1.1 ").map(|rest| &rest[..3]);
        said.extend(status.map(|status| match status {
            b"101" => "+ 101".into(),
            b"408" => "+ 408".into(),
            [b'4', ..] => "+ 4xx".into(),
            _ => panic!("{status:?}"),
        }));
        said.push(format!("→ {}", if is_open { "Open" } else { "Closed" }));
        said
    }
}

/// The name of an error without what it carries.
fn name(error: &HandshakeError) -> String {
    let name = format!("{error:?}");
    name.split('(').next().unwrap().to_owned()
}

/// What a server answers this request with.
fn answer(request: &[u8]) -> Vec<u8> {
    let upgrade = Upgrade::default();
    let head = RequestHead::new(&upgrade).receive(&mut &request[..]);
    let request = head.unwrap().unwrap();
    let (response, _) = upgrade.accept(&request).unwrap();
    encode_accepted(&request, &response).to_vec()
}
