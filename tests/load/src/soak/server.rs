//! The server as a process, seen from outside and by what it says of itself.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::wire::SERVER;

/// A server that runs until it is dropped.
pub struct Server {
    process: Child,
    pub port: u16,
}

/// What a server says of itself.
#[derive(Clone, Copy, Debug)]
pub struct Stats {
    /// Bytes of its heap that are in use.
    pub held: usize,
    pub resident: usize,
    pub descriptors: usize,
    pub opened: usize,
    pub clean: usize,
    pub lost: usize,
    pub evicted: usize,
}

impl Server {
    /// Starts a server with these options.
    pub fn start(options: &[&str]) -> Self {
        let program = std::env::current_exe().expect("Linux knows it");
        let mut process = Command::new(program.with_file_name("soak_server"))
            .args(options)
            .stdout(Stdio::piped())
            .spawn()
            .expect("it stands beside this program");
        let stdout = process.stdout.take().expect("it is piped");
        let mut line = String::new();
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("it is piped");
        let port = line.trim().parse().expect("it prints its port");
        Self { process, port }
    }

    /// What it says of itself, after it has given free memory back.
    pub async fn trimmed(&self) -> Stats {
        self.ask("/trimmed").await
    }

    pub async fn stats(&self) -> Stats {
        self.ask("/stats").await
    }

    /// Waits until it has no more descriptors than it had, for a time; gives what it says then.
    pub async fn settled(&self, before: Stats, time: Duration) -> Stats {
        let end = Instant::now() + time;
        loop {
            let now = self.trimmed().await;
            if now.descriptors <= before.descriptors && now.opened == now.clean + now.lost
                || Instant::now() > end
            {
                // What is dropped last may still be on its way.
                sleep(Duration::from_millis(500)).await;
                return self.trimmed().await;
            }
            sleep(Duration::from_millis(200)).await;
        }
    }

    async fn ask(&self, path: &str) -> Stats {
        let mut stream = TcpStream::connect((SERVER, self.port))
            .await
            .expect("the server listens");
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        stream
            .write_all(request.as_bytes())
            .await
            .expect("it is open");
        let mut response = String::new();
        stream
            .read_to_string(&mut response)
            .await
            .expect("the server answers");
        let (_, body) = response.split_once("\r\n\r\n").expect("it is a response");
        let numbers: Vec<usize> = body
            .split_whitespace()
            .map(|number| number.parse().expect("a number"))
            .collect();
        let [held, resident, descriptors, opened, clean, lost, evicted] = numbers[..] else {
            panic!("{response}");
        };
        Stats {
            held,
            resident,
            descriptors,
            opened,
            clean,
            lost,
            evicted,
        }
    }

    /// How long it has run on a core.
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

    /// Its resident bytes, without asking it.
    pub fn resident(&self) -> usize {
        let statm = fs::read_to_string(format!("/proc/{}/statm", self.process.id()));
        let statm = statm.expect("the server lives");
        let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok());
        4096 * pages.unwrap_or(0_usize)
    }

    /// Ends it as it is, with SIGKILL.
    pub fn kill(mut self) {
        self.end();
    }

    /// Tells it to leave, with SIGTERM, and waits until it has; `None` if it does not.
    pub async fn leave(mut self, time: Duration) -> Option<(ExitStatus, Duration)> {
        let began = Instant::now();
        let told = Command::new("kill")
            .args(["-TERM", &self.process.id().to_string()])
            .status();
        assert!(told.is_ok_and(|status| status.success()), "it lives");
        while began.elapsed() < time {
            if let Ok(Some(status)) = self.process.try_wait() {
                return Some((status, began.elapsed()));
            }
            sleep(Duration::from_millis(10)).await;
        }
        None
    }

    fn end(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}
