//! A server as a child process: started, pinned to a core, its CPU time read, ended.

use std::io::{BufRead, BufReader, Write};
use std::mem;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use super::contestants::{Contestant, Program};

/// The core of the servers.
const SERVER_CORE: usize = 0;

/// The core of the load generator.
const OWN_CORE: usize = 1;

/// A running server. It ends when this is dropped.
pub struct Server {
    name: &'static str,
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    clock: libc::clockid_t,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Server {
    /// Starts the server of a contestant on the core of the servers, and waits until it listens.
    ///
    /// # Panics
    ///
    /// Panics if it doesn't start.
    pub fn start(contestant: &Contestant, options: &[&str]) -> Self {
        let js = concat!(env!("CARGO_MANIFEST_DIR"), "/js");
        let mut command = match contestant.program {
            Program::Raw | Program::Rust => {
                let own = std::env::current_exe().expect("this program has a path");
                Command::new(own.with_file_name("echo_server"))
            }
            Program::Node => Command::new("node"),
            Program::Bun => Command::new(format!("{js}/node_modules/.bin/bun")),
        };
        match contestant.program {
            Program::Raw | Program::Rust => command.args([contestant.name, "0"]).args(options),
            Program::Node | Program::Bun => {
                command.args([&format!("{js}/{}.mjs", contestant.name), "0"])
            }
        };
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        // SAFETY: a system call and nothing else happens between fork and exec.
        unsafe {
            command.pre_exec(|| {
                pin(SERVER_CORE);
                Ok(())
            });
        }
        let mut child = command.spawn().unwrap_or_else(|error| {
            panic!("{} ({command:?}): {error}", contestant.name);
        });
        let input = child.stdin.take().expect("a pipe");
        let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
        let line = read_line(&mut output);
        let address = line.rsplit(' ').next().and_then(|word| word.parse().ok());
        let address = address.unwrap_or_else(|| panic!("{} said {line:?}", contestant.name));
        let mut clock = 0;
        let found = unsafe { libc::clock_getcpuclockid(child.id() as i32, &mut clock) };
        assert_eq!(found, 0, "a child has a clock");
        Self {
            name: contestant.name,
            child,
            input,
            output,
            clock,
            address,
        }
    }

    /// The CPU time of all its threads so far, in user and kernel.
    pub fn cpu_time(&self) -> Duration {
        read_clock(self.clock)
    }

    /// The bytes of its heap that are in use, if it counts them.
    pub fn heap_bytes(&mut self) -> u64 {
        self.input.write_all(b"\n").expect("a pipe");
        read_line(&mut self.output)
            .trim()
            .parse()
            .expect("a number")
    }

    /// The bytes of its memory that are resident.
    pub fn resident_bytes(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).expect("a running child");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        kib.expect("VmRSS").parse::<u64>().expect("a number") << 10
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("this was about {}", self.name);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_line(output: &mut impl BufRead) -> String {
    let mut line = String::new();
    output.read_line(&mut line).expect("a pipe");
    line.trim_end().to_owned()
}

/// Moves this process to the core that the servers don't have.
pub fn pin_self() {
    pin(OWN_CORE);
}

/// Moves the calling process to one core; on a machine with fewer, it stays where it is.
fn pin(core: usize) {
    // SAFETY: a set of cores is plain bits.
    unsafe {
        let mut cores: libc::cpu_set_t = mem::zeroed();
        libc::CPU_SET(core, &mut cores);
        libc::sched_setaffinity(0, mem::size_of_val(&cores), &cores);
    }
}

/// The CPU time of this process so far.
pub fn own_cpu_time() -> Duration {
    read_clock(libc::CLOCK_PROCESS_CPUTIME_ID)
}

fn read_clock(clock: libc::clockid_t) -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let read = unsafe { libc::clock_gettime(clock, &mut time) };
    assert_eq!(read, 0, "the process runs");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
