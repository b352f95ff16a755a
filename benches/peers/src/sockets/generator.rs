//! The load generator: one thread, epoll, and frames that were made before.
//!
//! A connection has a number of messages in flight. When replies to some of them have come, the
//! same number of new messages leaves in one write. Each reply is compared with what it has to be.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use super::child::own_cpu_time;
use super::client::{Kind, frame, open};

/// What is sent, and what has to come back.
pub struct Traffic {
    /// Frames to send, one behind the other; as many as are in flight stand at the end once more,
    /// so that any number of them in a row is one slice.
    requests: Vec<u8>,
    /// The replies to them, without the repetition.
    replies: Vec<u8>,
    request_len: usize,
    reply_len: usize,
    in_flight: usize,
}

impl Traffic {
    /// Makes masked frames of `size` random bytes with a random key each; for a raw server, the
    /// same without masks, which it sends back as they are.
    pub fn new(kind: Kind, size: usize, in_flight: usize, raw: bool) -> Self {
        // Enough for payloads and masks to vary, few enough to stay in the cache.
        let count = (128 << 10) / size;
        let count = count.clamp(in_flight.max(3), 1024.max(in_flight));
        let (mut requests, mut replies) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let (masked, plain) = frame(kind, size);
            requests.extend(if raw { &plain } else { &masked });
            replies.extend(plain);
        }
        let request_len = requests.len() / count;
        requests.extend_from_within(..request_len * in_flight);
        Self {
            request_len,
            reply_len: replies.len() / count,
            requests,
            replies,
            in_flight,
        }
    }
}

/// What one run gave.
pub struct Measured {
    /// Replies during the time that was measured.
    pub messages: u64,
    /// That time.
    pub elapsed: Duration,
    /// The CPU time of the server during it.
    pub server_cpu: Duration,
    /// Our own.
    pub own_cpu: Duration,
}

/// The connections to one server.
pub struct Generator<'a> {
    traffic: &'a Traffic,
    poll: OwnedFd,
    connections: Vec<Connection>,
    buffer: Vec<u8>,
}

struct Connection {
    stream: TcpStream,
    /// Where in the requests the next write begins, and how much is to be written.
    request_at: usize,
    unsent: usize,
    /// Where in the replies the next read begins, and how many bytes of the first are there.
    reply_at: usize,
    partial: usize,
    in_flight: usize,
}

/// How long a server may be silent with messages in flight.
const PATIENCE: Duration = Duration::from_secs(10);

impl<'a> Generator<'a> {
    /// Opens the connections, through WebSocket handshakes unless the server is raw.
    pub fn connect(address: SocketAddr, count: usize, traffic: &'a Traffic, raw: bool) -> Self {
        // SAFETY: the descriptor is new and nobody else's.
        let poll = unsafe { OwnedFd::from_raw_fd(libc::epoll_create1(libc::EPOLL_CLOEXEC)) };
        let mut connections = Vec::new();
        let frames = traffic.replies.len() / traffic.reply_len;
        for index in 0..count {
            let stream = open(address, index, raw);
            stream.set_nonblocking(true).expect("a socket");
            let mut event = libc::epoll_event {
                events: (libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLET) as u32,
                u64: index as u64,
            };
            let (poll, fd) = (poll.as_raw_fd(), stream.as_raw_fd());
            let added = unsafe { libc::epoll_ctl(poll, libc::EPOLL_CTL_ADD, fd, &mut event) };
            assert_eq!(added, 0, "epoll_ctl");
            let first = index * frames / count;
            connections.push(Connection {
                stream,
                request_at: first * traffic.request_len,
                unsent: 0,
                reply_at: first * traffic.reply_len,
                partial: 0,
                in_flight: 0,
            });
        }
        Self {
            traffic,
            poll,
            connections,
            buffer: vec![0; 256 << 10],
        }
    }

    /// Keeps the messages going, for `warm_up` and then for the time that is measured.
    ///
    /// # Panics
    ///
    /// Panics if a reply is wrong, does not come, or the server ends a connection.
    pub fn run(
        &mut self,
        warm_up: Duration,
        time: Duration,
        server_cpu: impl Fn() -> Duration,
    ) -> Measured {
        for connection in &mut self.connections {
            connection.send(self.traffic, self.traffic.in_flight);
        }
        self.exchange(Instant::now() + warm_up, true);
        let (server, own) = (server_cpu(), own_cpu_time());
        let start = Instant::now();
        let messages = self.exchange(start + time, true);
        let measured = Measured {
            messages,
            elapsed: start.elapsed(),
            server_cpu: server_cpu() - server,
            own_cpu: own_cpu_time() - own,
        };
        // The last replies are checked as well.
        self.exchange(Instant::now() + PATIENCE, false);
        for connection in &self.connections {
            assert_eq!(connection.in_flight, 0, "replies are missing");
            assert_eq!(connection.partial, 0, "there is more than replies");
        }
        measured
    }

    /// Takes replies until a time, or until all are there if none are to be asked for `again`.
    fn exchange(&mut self, until: Instant, again: bool) -> u64 {
        let mut messages = 0;
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 512];
        while Instant::now() < until {
            if !again && self.connections.iter().all(|it| it.in_flight == 0) {
                break;
            }
            let (poll, wait) = (self.poll.as_raw_fd(), PATIENCE.as_millis() as i32);
            let count = unsafe { libc::epoll_wait(poll, events.as_mut_ptr(), 512, wait) };
            assert!(count > 0, "the server is silent");
            for event in &events[..count as usize] {
                let connection = &mut self.connections[event.u64 as usize];
                connection.write(self.traffic);
                let replies = connection.read(self.traffic, &mut self.buffer);
                messages += replies as u64;
                if again && replies > 0 {
                    connection.send(self.traffic, replies);
                }
            }
        }
        messages
    }
}

impl Connection {
    /// Adds messages to what is to be sent, and writes.
    fn send(&mut self, traffic: &Traffic, messages: usize) {
        self.in_flight += messages;
        self.unsent += messages * traffic.request_len;
        self.write(traffic);
    }

    fn write(&mut self, traffic: &Traffic) {
        let frames = traffic.requests.len() - traffic.in_flight * traffic.request_len;
        while self.unsent > 0 {
            let unsent = &traffic.requests[self.request_at..][..self.unsent];
            match self.stream.write(unsent) {
                Ok(written) => {
                    self.unsent -= written;
                    self.request_at = (self.request_at + written) % frames;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("the server ended a connection: {error}"),
            }
        }
    }

    /// Reads and compares what is there; how many replies it completed.
    fn read(&mut self, traffic: &Traffic, buffer: &mut [u8]) -> usize {
        let mut replies = 0;
        loop {
            let read = match self.stream.read(buffer) {
                Ok(0) => panic!("the server ended a connection"),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return replies,
                Err(error) => panic!("the server ended a connection: {error}"),
            };
            let mut bytes = &buffer[..read];
            while !bytes.is_empty() {
                let expected = &traffic.replies[self.reply_at..];
                let count = expected.len().min(bytes.len());
                assert!(expected[..count] == bytes[..count], "a reply is wrong");
                bytes = &bytes[count..];
                self.reply_at = (self.reply_at + count) % traffic.replies.len();
            }
            self.partial += read;
            let complete = self.partial / traffic.reply_len;
            self.partial %= traffic.reply_len;
            self.in_flight = self
                .in_flight
                .checked_sub(complete)
                .expect("one reply each");
            replies += complete;
            if read < buffer.len() {
                return replies;
            }
        }
    }
}
