//! What the programs share that load a server with many connections: the server as a process on a
//! core of its own, and the crowd of connections in one event loop.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, io};

use mio::{Events, Interest, Poll, Token};
use rand::RngExt;
use socket2::SockRef;

/// The core of the load, and the core of the servers.
pub const CORES: [u32; 2] = [0, 1];

/// A program that serves, pinned to its core until it is dropped.
pub struct Server {
    process: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    pub port: u16,
}

impl Server {
    /// Starts a program, which prints the port that it listens on in its first line.
    pub fn start(program: &[String]) -> Self {
        let mut process = Command::new("taskset")
            .args(["-c", &CORES[1].to_string()])
            .args(program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("taskset is there");
        let stdin = process.stdin.take().expect("it is piped");
        let stdout = process.stdout.take().expect("it is piped");
        let mut server = Self {
            process,
            stdin,
            stdout: BufReader::new(stdout),
            port: 0,
        };
        server.port = u16::try_from(server.number()).expect("a port");
        server
    }

    /// The next line that it prints.
    fn number(&mut self) -> u64 {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("it is piped");
        let number = line.trim().parse();
        number.unwrap_or_else(|_| panic!("the server printed {line:?} for a number"))
    }

    /// How many bytes of its heap are in use, from a server that answers a line with it.
    pub fn heap_bytes(&mut self) -> u64 {
        self.stdin.write_all(b"\n").expect("it reads");
        self.number()
    }

    /// How long its threads have run: in user space and in the kernel, where a write on the
    /// loopback interface runs the receiving half too.
    pub fn cpu(&self) -> Duration {
        let tasks = format!("/proc/{}/task", self.process.id());
        let tasks = fs::read_dir(tasks).expect("the server lives");
        let nanos = tasks.filter_map(|task| {
            let path = task.ok()?.path().join("schedstat");
            let line = fs::read_to_string(path).ok()?;
            line.split(' ').next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(nanos.sum())
    }

    /// The memory that it has in use.
    pub fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()));
        let status = status.expect("the server lives");
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().nth(1));
        kib.and_then(|kib| kib.parse::<u64>().ok())
            .expect("a number")
            << 10
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Pins this program to the core of the load.
pub fn pin_self() {
    let pinned = Command::new("taskset")
        .args(["-c", "-p", &CORES[0].to_string()])
        .arg(std::process::id().to_string())
        .stdout(Stdio::null())
        .status();
    assert!(pinned.is_ok_and(|status| status.success()), "taskset works");
}

/// The name of a Rust peer with the version that was built.
pub fn crate_name(name: &str) -> String {
    let lock = include_str!("../Cargo.lock");
    let entry = format!("name = \"{name}\"\nversion = \"");
    let (_, version) = lock.split_once(&entry).expect("the crate is locked");
    let version = version.split('"').next().unwrap_or_default();
    format!("{name} {version}")
}

/// The name of a peer from npm with its version, if it is installed in `js`.
pub fn package_name(name: &str) -> Option<String> {
    let path = js(&format!("node_modules/{name}/package.json"));
    let manifest: serde_json::Value = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    Some(format!("{name} {}", manifest["version"].as_str()?))
}

/// The path of a file of `js`.
pub fn js(path: &str) -> String {
    format!("{}/js/{path}", env!("CARGO_MANIFEST_DIR"))
}

/// The path of another program of this package.
pub fn sibling(program: &str) -> String {
    let this = std::env::current_exe().expect("Linux knows it");
    this.with_file_name(program).display().to_string()
}

/// Opens a WebSocket, and gives the extensions that the server has chosen.
pub fn open(port: u16, path: &str, extensions: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("the server listens");
    stream.set_nodelay(true).expect("it is TCP");
    // Its end is a reset, so that no port stays in use.
    SockRef::from(&stream)
        .set_linger(Some(Duration::ZERO))
        .expect("it is TCP");
    stream
        .set_read_timeout(Some(STALLED))
        .expect("not a time of zero");
    let mut request = format!(
        "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Version: 13\r\n"
    );
    if !extensions.is_empty() {
        request += &format!("Sec-WebSocket-Extensions: {extensions}\r\n");
    }
    request += "\r\n";
    stream.write_all(request.as_bytes()).expect("it is open");
    let mut head = Vec::new();
    let mut byte = [0];
    // One byte at a time, since frames may follow.
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).expect("the server answers");
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).expect("HTTP is text");
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
    assert!(head.contains(accept), "{head}");
    let chosen = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let found = name.eq_ignore_ascii_case("sec-websocket-extensions");
        found.then(|| value.trim().to_owned())
    });
    (stream, chosen.unwrap_or_default())
}

/// The first byte of a whole text message; [`COMPRESSED`] goes with it.
pub const TEXT: u8 = 0x81;

/// RSV1 (RFC 7692 §6).
pub const COMPRESSED: u8 = 0x40;

/// Appends a frame as a server sends it.
pub fn server_frame(out: &mut Vec<u8>, first: u8, payload: &[u8]) {
    header(out, first, 0, payload.len());
    out.extend_from_slice(payload);
}

/// Appends a frame as a client sends it, with a random mask.
pub fn client_frame(out: &mut Vec<u8>, first: u8, payload: &[u8]) {
    header(out, first, 0x80, payload.len());
    let key: [u8; 4] = rand::rng().random();
    out.extend_from_slice(&key);
    let masked = payload.iter().zip(key.iter().cycle());
    out.extend(masked.map(|(byte, key)| byte ^ key));
}

fn header(out: &mut Vec<u8>, first: u8, mask: u8, len: usize) {
    out.push(first);
    if len < 126 {
        out.push(mask | len as u8);
    } else if let Ok(len) = u16::try_from(len) {
        out.push(mask | 126);
        out.extend_from_slice(&len.to_be_bytes());
    } else {
        out.push(mask | 127);
        out.extend_from_slice(&(len as u64).to_be_bytes());
    }
}

/// Random letters.
pub fn random_text(len: usize) -> String {
    let mut rng = rand::rng();
    (0..len).map(|_| rng.random_range('a'..='z')).collect()
}

/// After so long without a byte, the server has lost a message.
const STALLED: Duration = Duration::from_secs(20);

/// For so long a crowd that waits keeps looking.
const SPIN: Duration = Duration::from_micros(100);

/// Connections that only receive. All bytes are counted, and those of a few are kept.
pub struct Crowd {
    poll: Poll,
    events: Events,
    members: Vec<Member>,
    buffer: Vec<u8>,
    /// How much each is to have received in the end, and how many have not.
    target: u64,
    missing: usize,
}

struct Member {
    stream: mio::net::TcpStream,
    received: u64,
    kept: Option<Vec<u8>>,
}

/// The bytes of so many members are kept.
const KEPT: usize = 8;

impl Crowd {
    /// Opens the connections.
    pub fn open(port: u16, path: &str, extensions: &str, count: usize) -> Self {
        let poll = Poll::new().expect("a file is left");
        let mut members = Vec::with_capacity(count);
        for index in 0..count {
            let (stream, _) = open(port, path, extensions);
            stream.set_nonblocking(true).expect("it is a socket");
            let mut stream = mio::net::TcpStream::from_std(stream);
            poll.registry()
                .register(&mut stream, Token(index), Interest::READABLE)
                .expect("it is registered once");
            members.push(Member {
                stream,
                received: 0,
                kept: (index % count.div_ceil(KEPT) == 0).then(Vec::new),
            });
        }
        Self {
            poll,
            events: Events::with_capacity(1024),
            members,
            buffer: vec![0; 256 << 10],
            target: 0,
            missing: 0,
        }
    }

    /// Reads until each has received so many bytes more.
    ///
    /// # Panics
    ///
    /// Panics if one receives more than that, or nothing for long.
    pub fn receive(&mut self, bytes: usize) {
        assert_eq!(self.missing, 0);
        self.target += bytes as u64;
        self.missing = self.members.len();
        let mut quiet = Instant::now();
        while self.missing > 0 {
            // Between two members it looks again and again rather than sleep: to wake it would
            // cost the server's core as much as a write does, and members elsewhere would not.
            let wait = match quiet.elapsed() < SPIN {
                true => Duration::ZERO,
                false => STALLED,
            };
            if let Err(error) = self.poll.poll(&mut self.events, Some(wait)) {
                assert_eq!(error.kind(), ErrorKind::Interrupted, "{error}");
                continue;
            }
            if self.events.is_empty() {
                let missing = self.missing;
                assert!(wait.is_zero(), "{missing} members miss bytes");
                continue;
            }
            quiet = Instant::now();
            for event in &self.events {
                let member = &mut self.members[event.token().0];
                let before = member.received;
                member.read(&mut self.buffer);
                assert!(member.received <= self.target, "a member got too much");
                if before < self.target && member.received == self.target {
                    self.missing -= 1;
                }
            }
        }
    }

    /// How many they are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// What the members have received whose bytes are kept.
    pub fn kept(&self) -> impl Iterator<Item = &[u8]> {
        self.members
            .iter()
            .filter_map(|member| member.kept.as_deref())
    }
}

impl Member {
    fn read(&mut self, buffer: &mut [u8]) {
        loop {
            match self.stream.read(buffer) {
                Ok(0) => panic!("the server closed a connection"),
                Ok(count) => {
                    self.received += count as u64;
                    if let Some(kept) = &mut self.kept {
                        kept.extend_from_slice(&buffer[..count]);
                    }
                    // After a short read there is an event for what comes later.
                    if count < buffer.len() {
                        return;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// How much work was done, how long it took, and how long the server worked for it.
pub struct Measured {
    pub count: u64,
    pub took: Duration,
    pub server: Duration,
}

impl Measured {
    /// Repeats a round for a time, after a warm-up. A round says how much it has done.
    pub fn rounds(server: &Server, time: Duration, mut round: impl FnMut() -> u64) -> Self {
        let warm = Instant::now() + time / 5;
        while Instant::now() < warm {
            round();
        }
        let before = server.cpu();
        let start = Instant::now();
        let mut count = 0;
        while start.elapsed() < time {
            count += round();
        }
        Self {
            count,
            took: start.elapsed(),
            server: server.cpu() - before,
        }
    }

    pub fn per_second(&self) -> f64 {
        self.count as f64 / self.took.as_secs_f64()
    }

    pub fn per_server_second(&self) -> f64 {
        self.count as f64 / self.server.as_secs_f64()
    }

    /// Which part of the time the server was busy: where it is not near one, the load holds it up.
    pub fn server_share(&self) -> f64 {
        self.server.as_secs_f64() / self.took.as_secs_f64()
    }
}

/// The arguments of a program: `--short`, and words of which a row must have one.
pub struct Options {
    pub short: bool,
    words: Vec<String>,
}

impl Options {
    pub fn from_args() -> Self {
        let (flags, words): (Vec<_>, _) = std::env::args()
            .skip(1)
            .partition(|arg| arg.starts_with("--"));
        if let Some(unknown) = flags.iter().find(|flag| *flag != "--short") {
            eprintln!("{unknown} is no option: there is --short, and words to choose rows by");
            std::process::exit(2);
        }
        Self {
            short: !flags.is_empty(),
            words,
        }
    }

    /// Whether a row is wanted: some word must be in its workload or its contestant.
    pub fn want(&self, workload: &str, contestant: &str) -> bool {
        let row = format!("{workload} {contestant}");
        self.words.is_empty() || self.words.iter().any(|word| row.contains(word.as_str()))
    }
}

/// Samples by row, in the order in which rows first came.
#[derive(Default)]
pub struct Table {
    rows: Vec<wsroom_peers::Row>,
    index: HashMap<[String; 4], usize>,
}

impl Table {
    /// Adds a sample to the row of these names.
    pub fn add(
        &mut self,
        suite: &str,
        workload: &str,
        contestant: &str,
        (unit, higher_is_better): (&str, bool),
        sample: f64,
    ) {
        let key = [suite, workload, contestant, unit].map(str::to_owned);
        let index = *self.index.entry(key).or_insert_with(|| {
            self.rows.push(wsroom_peers::Row {
                suite: suite.to_owned(),
                workload: workload.to_owned(),
                contestant: contestant.to_owned(),
                unit: unit.to_owned(),
                higher_is_better,
                samples: Vec::new(),
            });
            self.rows.len() - 1
        });
        self.rows[index].samples.push(sample);
    }

    /// Prints the rows.
    pub fn print(&self) {
        self.rows.iter().for_each(wsroom_peers::Row::print);
        let _ = io::stdout().flush();
    }
}
