//! What a message may refer to of those before it (RFC 7692 §7.1.1).

use std::sync::atomic::{AtomicU64, Ordering};

/// The end of a stream, and its name.
pub(super) struct Context {
    window: Window,
    mark: Mark,
}

/// A place in one of all streams. A state that was left at this place needs no window to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    stream: u64,
    place: u64,
}

/// The last bytes of a stream, at most so many as it is made for. It grows as they come.
pub(super) struct Window {
    bytes: Vec<u8>,
    size: usize,
    /// Where the oldest byte is, once it is full.
    oldest: usize,
}

impl Context {
    /// Keeps so many bytes.
    pub(super) fn new(size: usize) -> Self {
        // Only that no two are the same matters.
        static STREAMS: AtomicU64 = AtomicU64::new(0);
        Self {
            window: Window::new(size),
            mark: Mark {
                stream: STREAMS.fetch_add(1, Ordering::Relaxed),
                place: 0,
            },
        }
    }

    pub(super) const fn window(&self) -> &Window {
        &self.window
    }

    pub(super) const fn mark(&self) -> Mark {
        self.mark
    }

    /// Adds the next bytes of the stream.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.window.push(bytes);
        self.mark.place += 1;
    }

    /// Begins another stream.
    pub(super) fn clear(&mut self) {
        self.window.clear();
        self.mark.place += 1;
    }
}

impl Window {
    const fn new(size: usize) -> Self {
        Self {
            bytes: Vec::new(),
            size,
            oldest: 0,
        }
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.oldest = 0;
    }

    fn push(&mut self, bytes: &[u8]) {
        if self.size == 0 {
            return;
        }
        let bytes = &bytes[bytes.len().saturating_sub(self.size)..];
        let (new, over) = bytes.split_at(bytes.len().min(self.size - self.bytes.len()));
        let len = self.bytes.len() + new.len();
        if len > self.bytes.capacity() {
            let doubled = (2 * len).min(self.size);
            self.bytes.reserve_exact(doubled - self.bytes.len());
        }
        self.bytes.extend_from_slice(new);
        // It is full now, or nothing is over.
        let (back, front) = over.split_at(over.len().min(self.size - self.oldest));
        self.bytes[self.oldest..][..back.len()].copy_from_slice(back);
        self.bytes[..front.len()].copy_from_slice(front);
        self.oldest = (self.oldest + over.len()) % self.size;
    }

    /// At most the last `count` bytes, in two parts.
    pub(super) fn last(&self, count: usize) -> [&[u8]; 2] {
        let (newer, older) = self.bytes.split_at(self.oldest);
        let skipped = self.bytes.len().saturating_sub(count);
        [
            &older[skipped.min(older.len())..],
            &newer[skipped.saturating_sub(older.len())..],
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_gives_its_last_bytes_in_order_and_grows_as_they_come() {
        for step in 1..20 {
            let mut window = Window::new(10);
            let mut written = Vec::new();
            for byte in 0..40 {
                let bytes = vec![byte; 1 + usize::from(byte) % step];
                window.push(&bytes);
                written.extend(bytes);
                assert!(window.bytes.capacity() <= 10.min(2 * written.len()));
                for count in 0..=12 {
                    let expected = &written[written.len() - count.min(10).min(written.len())..];
                    assert_eq!(window.last(count).concat(), expected, "{step}");
                }
            }
            window.clear();
            assert!(window.last(10).concat().is_empty());
        }
    }

    #[test]
    fn a_window_of_nothing_keeps_nothing() {
        let mut window = Window::new(0);
        window.push(b"something");
        assert!(window.last(10).concat().is_empty());
    }

    #[test]
    fn no_two_places_have_the_same_mark() {
        let [mut one, two] = [(); 2].map(|()| Context::new(9));
        let mut marks = vec![one.mark(), two.mark()];
        one.push(b"");
        marks.push(one.mark());
        one.clear();
        marks.push(one.mark());
        for (i, mark) in marks.iter().enumerate() {
            assert!(!marks[..i].contains(mark));
        }
    }
}
