//! The output of a state, of which the window is a part.

/// The last bytes of a message, in a circle. What is written next lies in it too.
pub(super) struct Ring {
    bytes: Box<[u8]>,
    /// Where the next byte goes.
    at: usize,
    len: usize,
}

impl Ring {
    pub(super) fn new(size: usize) -> Self {
        Self {
            bytes: vec![0; size].into(),
            at: 0,
            len: 0,
        }
    }

    pub(super) const fn clear(&mut self) {
        (self.at, self.len) = (0, 0);
    }

    /// Where the next space begins.
    const fn start(&self) -> usize {
        if self.at == self.bytes.len() {
            0
        } else {
            self.at
        }
    }

    /// Room for the next bytes, at least one.
    pub(super) fn space(&mut self, max: usize) -> &mut [u8] {
        let start = self.start();
        let end = self.bytes.len().min(start.saturating_add(max));
        &mut self.bytes[start..end]
    }

    /// Says that so much of the space was written to.
    pub(super) fn advance(&mut self, count: usize) {
        self.at = self.start() + count;
        self.len = self.bytes.len().min(self.len + count);
    }

    /// How many bytes it holds.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// The last `count` bytes, of one space.
    pub(super) fn newest(&self, count: usize) -> &[u8] {
        &self.bytes[self.at - count..self.at]
    }

    /// At most the last `count` bytes, in two parts.
    pub(super) fn last(&self, count: usize) -> [&[u8]; 2] {
        let count = count.min(self.len);
        let (front, back) = self.bytes.split_at(self.at);
        let older = count.saturating_sub(front.len());
        [
            &back[back.len() - older..],
            &front[front.len() - (count - older)..],
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_gives_its_last_bytes_in_order() {
        let mut ring = Ring::new(5);
        let mut written = Vec::new();
        for byte in 0..40 {
            let space = ring.space(1 + usize::from(byte) % 3);
            space.fill(byte);
            let len = space.len();
            ring.advance(len);
            assert_eq!(ring.newest(len), vec![byte; len]);
            written.extend(vec![byte; len]);
            for count in 0..=6 {
                let expected = &written[written.len() - count.min(5).min(written.len())..];
                assert_eq!(ring.last(count).concat(), expected);
            }
        }
    }
}
