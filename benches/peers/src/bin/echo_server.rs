//! The echo servers, one program for all of them, so that each is compiled the same way:
//!
//! ```text
//! cargo run --release --bin echo_server -- CONTESTANT PORT [--count]
//! ```
//!
//! It listens on 127.0.0.1 (port 0 takes a free one) with one current-thread runtime, without
//! Nagle's delay, and refuses messages over [`echo::MAX_MESSAGE`] bytes. It answers each line on
//! its standard input with the number of heap bytes in use (0 without `--count`), and ends with
//! that input, so that no server outlives who started it.

#[path = "../echo/mod.rs"]
mod echo;

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{BufRead, stdin};
use std::sync::atomic::{AtomicBool, AtomicIsize, Ordering::Relaxed};

fn main() {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    if let Some(at) = args.iter().position(|arg| arg == "--count") {
        args.remove(at);
        COUNTING.store(true, Relaxed);
    }
    let [contestant, port] = &args[..] else {
        eprintln!("usage: echo_server CONTESTANT PORT [--count]");
        std::process::exit(2);
    };
    std::thread::spawn(|| {
        for _ in stdin().lock().lines().map_while(Result::ok) {
            println!("{}", IN_USE.load(Relaxed));
        }
        std::process::exit(0);
    });
    echo::serve(contestant, port.parse().expect("PORT is a number"));
}

/// The system's allocator, with a count of the bytes in use if that is asked for.
struct Counting;

static COUNTING: AtomicBool = AtomicBool::new(false);
static IN_USE: AtomicIsize = AtomicIsize::new(0);

fn count(bytes: isize) {
    if COUNTING.load(Relaxed) {
        IN_USE.fetch_add(bytes, Relaxed);
    }
}

// SAFETY: every call is the system allocator's own; the count touches no memory of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;
