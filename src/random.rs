//! Random bytes for keys, from a cryptographically strong generator that every thread has (§10.3).
//!
//! A process that was forked has a copy of its parent's generator, which must not give it the bytes
//! that the parent gets: a generator that belongs to another process is seeded anew.

use std::cell::Cell;

use rand::Rng;

/// Fills `bytes`; gives the process that they were drawn in.
pub(crate) fn fill(bytes: &mut [u8]) -> u32 {
    let mut generator = rand::rng();
    let process = process();
    if PROCESS.replace(process) != process {
        // Nothing can be done without randomness, as in the thread's first use of its generator.
        generator
            .reseed()
            .expect("the operating system has randomness");
    }
    generator.fill_bytes(bytes);
    process
}

/// The process that runs. It costs a system call on most systems.
pub(crate) fn process() -> u32 {
    std::process::id()
}

thread_local! {
    /// The process in which the thread's generator was seeded; none has the id 0.
    static PROCESS: Cell<u32> = const { Cell::new(0) };
}
