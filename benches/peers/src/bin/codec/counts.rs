//! Reads, writes and allocations, counted.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

static ENABLED: AtomicBool = AtomicBool::new(false);
static COUNTS: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];

const READS: usize = 0;
const WRITES: usize = 1;
const ALLOCATIONS: usize = 2;
const BYTES: usize = 3;

/// What the counts are of, in their order.
pub const NAMES: [&str; 4] = ["reads", "writes", "allocations", "bytes allocated"];

/// The system's allocator, with a count of what it is asked for. While nothing is counted it costs
/// one branch that is foretold.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call is handed to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        allocated(layout.size());
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        allocated(layout.size());
        // SAFETY: as the caller promised.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        allocated(size);
        // SAFETY: as the caller promised.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(block, layout) }
    }
}

#[inline]
fn allocated(bytes: usize) {
    if ENABLED.load(Relaxed) {
        add(ALLOCATIONS, 1);
        add(BYTES, bytes as u64);
    }
}

/// Counts a read from the stream.
#[inline]
pub fn read() {
    if ENABLED.load(Relaxed) {
        add(READS, 1);
    }
}

/// Counts a write to the stream.
#[inline]
pub fn written() {
    if ENABLED.load(Relaxed) {
        add(WRITES, 1);
    }
}

#[cold]
fn add(count: usize, n: u64) {
    COUNTS[count].fetch_add(n, Relaxed);
}

/// What `job` does, counted.
pub fn of(job: impl FnOnce()) -> [u64; 4] {
    COUNTS.iter().for_each(|count| count.store(0, Relaxed));
    ENABLED.store(true, Relaxed);
    job();
    ENABLED.store(false, Relaxed);
    [0, 1, 2, 3].map(|count| COUNTS[count].load(Relaxed))
}
