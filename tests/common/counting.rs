//! An allocator that counts what each thread holds.

#![allow(dead_code, reason = "no test uses all of it")]
#![expect(unsafe_code, reason = "an allocator cannot be written without")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// Runs `body`, and gives besides its result the bytes that this thread held at most, and still
/// holds, more than before.
pub(crate) fn measured<T>(body: impl FnOnce() -> T) -> (T, usize, usize) {
    let before = LIVE.get();
    PEAK.set(before);
    let result = body();
    let held = |bytes: isize| usize::try_from(bytes - before).unwrap_or(0);
    (result, held(PEAK.get()), held(LIVE.get()))
}

/// Runs `body`, and gives besides its result the bytes that this thread has asked for, whether or
/// not it gave them back.
pub(crate) fn asked<T>(body: impl FnOnce() -> T) -> (T, usize) {
    let before = ASKED.get();
    let result = body();
    (result, ASKED.get() - before)
}

/// How many bytes this thread holds now.
pub(crate) fn held() -> isize {
    LIVE.get()
}

thread_local! {
    static ASKED: Cell<usize> = const { Cell::new(0) };
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The system's allocator, which counts what each thread holds.
struct Counting;

impl Counting {
    fn count(bytes: isize) {
        LIVE.set(LIVE.get() + bytes);
        PEAK.set(PEAK.get().max(LIVE.get()));
    }
}

// SAFETY: every call is passed on to `System` as it came, and counting does not allocate: the
// thread's cells are constants without a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::count(layout.size() as isize);
        ASKED.set(ASKED.get() + layout.size());
        // SAFETY: the caller keeps the contract of `alloc`, which is that of `System`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        Self::count(-(layout.size() as isize));
        // SAFETY: the caller keeps the contract of `dealloc`, and `alloc` gave `System`'s pointer.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Self::count(size as isize - layout.size() as isize);
        ASKED.set(ASKED.get() + size);
        // SAFETY: the caller keeps the contract of `realloc`, and `alloc` gave `System`'s pointer.
        unsafe { System.realloc(pointer, layout, size) }
    }
}
