//! Connections a second, everyone in turn:
//!
//! ```text
//! cargo build --release && target/release/handshakes [--short] [--seconds S] [--repetitions N]
//!     [--contestant WORD]...
//! ```
//!
//! 64 at a time, each connects, opens a WebSocket, has one message of 20 bytes echoed, and closes
//! with the closing handshake. Rows as `load` prints them.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use rand::seq::SliceRandom;
use socket2::SockRef;
use wsroom_peers::Row;
use wsroom_peers::sockets::child::{Server, own_cpu_time, pin_self};
use wsroom_peers::sockets::client::{Kind, REQUEST, check_response, encode, frame, socket};
use wsroom_peers::sockets::contestants::{Contestant, ECHO};

/// Who takes part. Where there are several ways, the one whose handshake its documentation shows.
const CONTESTANTS: &[&str] = &[
    "wsroom",
    "tungstenite",
    "tokio-websockets",
    "fastwebsockets",
    "sockudo",
    "yawc",
    "soketto",
    "ws",
    "bun",
];

/// How many are open at a time.
const AT_A_TIME: usize = 64;

fn main() {
    let (mut seconds, mut repetitions, mut words) = (1.0, 5, Vec::new());
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().unwrap_or_else(|| panic!("{arg} takes a value"));
        match &*arg {
            "--short" => (seconds, repetitions) = (0.2, 3),
            "--seconds" => seconds = value().parse().expect("a number"),
            "--repetitions" => repetitions = value().parse().expect("a number"),
            "--contestant" => words.push(value()),
            _ => panic!("there is no option {arg}"),
        }
    }
    pin_self();
    let contestants = ECHO
        .iter()
        .filter(|it| CONTESTANTS.contains(&it.name) && it.is_meant(&words) && it.is_installed());
    let mut runs: Vec<_> = contestants.map(|it| (it, Vec::new())).collect();
    for _ in 0..repetitions {
        let mut order: Vec<_> = (0..runs.len()).collect();
        order.shuffle(&mut rand::rng());
        for index in order {
            let (contestant, measured) = &mut runs[index];
            measured.push(run(contestant, Duration::from_secs_f64(seconds)));
        }
    }
    for (contestant, measured) in &runs {
        report(contestant, measured);
    }
}

/// What one run gave.
struct Measured {
    connections: usize,
    elapsed: f64,
    server_cpu: f64,
    own_cpu: f64,
}

/// Starts a server and measures it once.
fn run(contestant: &Contestant, time: Duration) -> Measured {
    let server = Server::start(contestant, &[]);
    let mut clients = Clients::new(server.address);
    clients.run(time.mul_f64(0.3));
    let (server_cpu, own_cpu) = (server.cpu_time(), own_cpu_time());
    let start = Instant::now();
    let connections = clients.run(time);
    Measured {
        connections,
        elapsed: start.elapsed().as_secs_f64(),
        server_cpu: (server.cpu_time() - server_cpu).as_secs_f64(),
        own_cpu: (own_cpu_time() - own_cpu).as_secs_f64(),
    }
}

/// Prints the rows of a contestant.
fn report(contestant: &Contestant, runs: &[Measured]) {
    let row = |suite: &str, unit: &str, figure: fn(&Measured) -> f64| {
        let row = Row {
            suite: suite.into(),
            workload: format!("open, one echo, close, {AT_A_TIME} at a time"),
            contestant: contestant.label(),
            unit: unit.into(),
            higher_is_better: true,
            samples: runs.iter().map(figure).collect(),
        };
        row.print();
        row.median()
    };
    let rate = row("handshake", "connections/s", |run| {
        run.connections as f64 / run.elapsed
    });
    let per_cpu = row("handshake cpu", "connections/CPU s of the server", |run| {
        run.connections as f64 / run.server_cpu
    });
    let busy = |cpu: fn(&Measured) -> f64| {
        let sum: f64 = runs.iter().map(|run| cpu(run) / run.elapsed).sum();
        100.0 * sum / runs.len() as f64
    };
    eprintln!(
        "  {:<36} {:>9.0}/s {:>9.0}/CPU s   server busy {:>3.0} %, load generator {:>3.0} %",
        contestant.label(),
        rate,
        per_cpu,
        busy(|run| run.server_cpu),
        busy(|run| run.own_cpu),
    );
}

/// The clients of one server.
struct Clients {
    address: SocketAddr,
    poll: OwnedFd,
    clients: Vec<Client>,
    message: Vec<u8>,
    echo: Vec<u8>,
    close: Vec<u8>,
    opened: usize,
}

struct Client {
    stream: TcpStream,
    step: Step,
    received: Vec<u8>,
}

/// What a client waits for.
#[derive(PartialEq, Eq)]
enum Step {
    Connecting,
    Upgrading,
    Echoing,
    Closing,
}

impl Clients {
    fn new(address: SocketAddr) -> Self {
        let (message, echo) = frame(Kind::Text, 20);
        // SAFETY: the descriptor is new and nobody else's.
        let poll = unsafe { OwnedFd::from_raw_fd(libc::epoll_create1(libc::EPOLL_CLOEXEC)) };
        let mut clients = Self {
            address,
            poll,
            clients: Vec::new(),
            message,
            echo,
            close: encode(8, &1000_u16.to_be_bytes(), Some(rand::random())),
            opened: 0,
        };
        for index in 0..AT_A_TIME {
            let client = clients.connect(index);
            clients.clients.push(client);
        }
        clients
    }

    fn connect(&mut self, index: usize) -> Client {
        let socket = socket(self.opened);
        self.opened += 1;
        socket.set_nonblocking(true).expect("a socket");
        match socket.connect(&self.address.into()) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => {
                panic!("the server doesn't listen: {error}")
            }
            _ => {}
        }
        let mut event = libc::epoll_event {
            events: (libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLET) as u32,
            u64: index as u64,
        };
        let (poll, fd) = (self.poll.as_raw_fd(), socket.as_raw_fd());
        let added = unsafe { libc::epoll_ctl(poll, libc::EPOLL_CTL_ADD, fd, &mut event) };
        assert_eq!(added, 0, "epoll_ctl");
        Client {
            stream: socket.into(),
            step: Step::Connecting,
            received: Vec::new(),
        }
    }

    /// Connects again and again for a time; how many connections ended.
    fn run(&mut self, time: Duration) -> usize {
        let until = Instant::now() + time;
        let mut ended = 0;
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; AT_A_TIME];
        while Instant::now() < until {
            let (poll, room) = (self.poll.as_raw_fd(), AT_A_TIME as i32);
            let count = unsafe { libc::epoll_wait(poll, events.as_mut_ptr(), room, 10_000) };
            assert!(count > 0, "the server is silent");
            for event in &events[..count as usize] {
                let index = event.u64 as usize;
                if self.advance(index) {
                    ended += 1;
                    self.clients[index] = self.connect(index);
                }
            }
        }
        ended
    }

    /// Goes on with a client as far as it can; whether it has ended.
    fn advance(&mut self, index: usize) -> bool {
        let client = &mut self.clients[index];
        if client.step == Step::Connecting {
            match client.stream.write(REQUEST.as_bytes()) {
                Ok(written) => assert_eq!(written, REQUEST.len(), "a short request fits"),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Err(error) => panic!("the server refused a connection: {error}"),
            }
            client.step = Step::Upgrading;
        }
        let mut buffer = [0; 2048];
        match client.stream.read(&mut buffer) {
            Ok(0) => panic!("the server ended a connection"),
            Ok(read) => client.received.extend(&buffer[..read]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(error) => panic!("the server ended a connection: {error}"),
        }
        let received = &mut client.received;
        let answer = match client.step {
            Step::Upgrading if received.ends_with(b"\r\n\r\n") => {
                check_response(received);
                client.step = Step::Echoing;
                &self.message
            }
            Step::Echoing if received.len() >= self.echo.len() => {
                assert_eq!(*received, self.echo, "a reply is wrong");
                client.step = Step::Closing;
                &self.close
            }
            Step::Closing => {
                assert_eq!(received[0], 0x88, "a Close is answered with a Close");
                // No port is to wait for stray packets.
                let linger = Some(Duration::ZERO);
                SockRef::from(&client.stream)
                    .set_linger(linger)
                    .expect("a socket");
                return true;
            }
            _ => return false,
        };
        received.clear();
        let written = client.stream.write(answer).expect("the server reads");
        assert_eq!(written, answer.len(), "a short message fits");
        false
    }
}
