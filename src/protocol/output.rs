//! The encoded frames that wait to be written.

use std::collections::VecDeque;
use std::fmt;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

use crate::buffer::Buffer;
use crate::frame::FrameHeader;

/// Encoded frames, in the order in which they are to be written. It is a [`Buf`]: write its
/// [`chunk`](Buf::chunk)s and [`advance`](Buf::advance) over what was written.
///
/// Small payloads stand in one buffer with their headers, so that many frames leave in one write;
/// large ones are kept by reference.
#[derive(Default)]
pub struct Output {
    /// What is to be written stands in `start..end`, but for what is kept by reference. An empty
    /// output has no buffer.
    buffer: Buffer,
    start: usize,
    end: usize,
    references: VecDeque<Reference>,
    remaining: usize,
    /// How many bytes were written in all.
    passed: u64,
}

/// Bytes that are to be written before those from `at` on in the buffer.
struct Reference {
    at: usize,
    bytes: Bytes,
}

/// From this length on, a shared payload is kept by reference: copying 4 KiB costs more than
/// another slice in the write does.
const BY_REFERENCE: usize = 4 << 10;

/// How large a buffer is at first.
const FIRST: usize = 512;

/// How large one is at least that did not suffice: for many small frames, or a few of 1 KiB.
const BUFFER: usize = 16 << 10;

impl Output {
    /// Adds a frame with a payload that is copied, and masked if the header says so.
    #[inline]
    pub(super) fn push(&mut self, header: &FrameHeader, payload: &[u8]) {
        let encoded = header.encode();
        let encoded = encoded.as_slice();
        let (head, body) = self
            .room(encoded.len() + payload.len())
            .split_at_mut(encoded.len());
        head.copy_from_slice(encoded);
        body.copy_from_slice(payload);
        // §5.3: the payload is masked, not the header.
        if let Some(key) = header.mask {
            key.apply(body);
        }
    }

    /// Adds a frame with a payload that may be kept by reference.
    #[inline]
    pub(super) fn push_shared(&mut self, header: &FrameHeader, payload: &Bytes) {
        if header.mask.is_some() || payload.len() < BY_REFERENCE {
            return self.push(header, payload);
        }
        self.push(header, &[]);
        self.refer_to(payload.clone());
    }

    /// Adds frames that are encoded already.
    #[inline]
    pub(super) fn push_encoded(&mut self, frames: &Bytes) {
        if frames.len() < BY_REFERENCE {
            self.room(frames.len()).copy_from_slice(frames);
        } else {
            self.refer_to(frames.clone());
        }
    }

    /// How many bytes were written in all.
    pub(super) const fn passed(&self) -> u64 {
        self.passed
    }

    /// Forgets all that waits.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Gives up memory that is not needed for what waits: for a peer that does not read.
    pub(crate) fn shrink(&mut self) {
        let waiting = self.end - self.start;
        if self.buffer.len() > 2 * waiting.max(FIRST) {
            self.replace_buffer(waiting);
        }
    }

    fn refer_to(&mut self, bytes: Bytes) {
        self.remaining += bytes.len();
        self.references.push_back(Reference {
            at: self.end,
            bytes,
        });
    }

    /// Room for `len` more bytes, which count as added.
    #[inline]
    fn room(&mut self, len: usize) -> &mut [u8] {
        if self.buffer.len() - self.end < len {
            self.make_room(len);
        }
        let start = self.end;
        self.end += len;
        self.remaining += len;
        &mut self.buffer[start..self.end]
    }

    /// Gives up the front of the buffer if most of it was written, so that an output that is never
    /// quite empty does not keep all that ever passed through it; otherwise takes a larger one.
    #[cold]
    fn make_room(&mut self, len: usize) {
        let waiting = self.end - self.start;
        if self.start >= waiting && waiting + len <= self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            self.moved_to_front();
        } else if waiting == 0 {
            self.replace_buffer(len.max(FIRST));
        } else {
            self.replace_buffer((waiting + len).max(BUFFER));
        }
    }

    fn replace_buffer(&mut self, len: usize) {
        let mut buffer = Buffer::new(len);
        buffer[..self.end - self.start].copy_from_slice(&self.buffer[self.start..self.end]);
        self.buffer = buffer;
        self.moved_to_front();
    }

    fn moved_to_front(&mut self) {
        let moved_by = std::mem::take(&mut self.start);
        self.end -= moved_by;
        for reference in &mut self.references {
            reference.at -= moved_by;
        }
    }

    /// How far the buffer is to be written before something else is.
    fn buffered_end(&self) -> usize {
        self.references.front().map_or(self.end, |next| next.at)
    }
}

impl Buf for Output {
    #[inline]
    fn remaining(&self) -> usize {
        self.remaining
    }

    #[inline]
    fn chunk(&self) -> &[u8] {
        match self.references.front() {
            Some(next) if next.at == self.start => &next.bytes,
            _ => &self.buffer[self.start..self.buffered_end()],
        }
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut start = self.start;
        let chunks = self.references.iter().flat_map(|next| {
            let buffered = &self.buffer[start..next.at];
            start = next.at;
            [buffered, &next.bytes[..]]
        });
        let last = self.references.back().map_or(self.start, |last| last.at);
        let chunks = chunks.chain([&self.buffer[last..self.end]]);
        let mut count = 0;
        for (slice, chunk) in slices
            .iter_mut()
            .zip(chunks.filter(|chunk| !chunk.is_empty()))
        {
            *slice = IoSlice::new(chunk);
            count += 1;
        }
        count
    }

    /// # Panics
    ///
    /// Panics if `count` is more than what remains.
    fn advance(&mut self, mut count: usize) {
        assert!(count <= self.remaining, "cannot advance past the end");
        self.remaining -= count;
        self.passed += count as u64;
        if self.remaining == 0 {
            (self.start, self.end) = (0, 0);
            self.buffer = Buffer::default();
            if self.references.capacity() > 0 {
                self.references = VecDeque::new();
            }
            return;
        }
        while count > 0 {
            let buffered = (self.buffered_end() - self.start).min(count);
            self.start += buffered;
            count -= buffered;
            let Some(next) = self.references.front_mut() else {
                break;
            };
            if count < next.bytes.len() {
                next.bytes.advance(count);
                break;
            }
            count -= next.bytes.len();
            self.references.pop_front();
        }
    }
}

/// Shows the length, never the content.
impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Output({} bytes)", self.remaining)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{MaskKey, OpCode};

    const fn header(payload_len: usize, mask: Option<MaskKey>) -> FrameHeader {
        FrameHeader {
            fin: true,
            rsv1: false,
            opcode: OpCode::Binary,
            mask,
            payload_len: payload_len as u64,
        }
    }

    /// Frames of all kinds and sizes, and what they are on the wire.
    fn filled() -> (Output, Vec<u8>) {
        let mut output = Output::default();
        let mut wire = Vec::new();
        for (i, len) in [0, 5, BY_REFERENCE, 7, BY_REFERENCE + 1, 70_000, 1]
            .into_iter()
            .enumerate()
        {
            let payload = Bytes::from(vec![i as u8; len]);
            let header = header(len, None);
            output.push_shared(&header, &payload);
            wire.extend_from_slice(header.encode().as_slice());
            wire.extend_from_slice(&payload);
        }
        (output, wire)
    }

    #[test]
    fn what_was_pushed_comes_out_in_order_whatever_is_written_at_a_time() {
        for step in [1, 3, 4096, 4099, 100_000] {
            let (mut output, wire) = filled();
            let mut written = Vec::new();
            while output.has_remaining() {
                let count = step.min(output.chunk().len());
                written.extend_from_slice(&output.chunk()[..count]);
                output.advance(count);
            }
            assert!(written == wire, "step {step}");
        }
    }

    #[test]
    fn the_slices_together_are_all_that_remains_and_can_be_advanced_over_at_once() {
        for skipped in [0, 1, 6, 9, 5_000] {
            let (mut output, wire) = filled();
            output.advance(skipped);
            let mut slices = [IoSlice::new(&[]); 16];
            let count = output.chunks_vectored(&mut slices);
            let all: Vec<u8> = slices[..count].iter().flat_map(|s| s.to_vec()).collect();
            assert!(all == wire[skipped..], "skipped {skipped}");
            assert_eq!(output.remaining(), all.len());
            output.advance(all.len());
            assert!(!output.has_remaining() && output.chunk().is_empty());
        }
    }

    #[test]
    fn frames_pushed_in_the_middle_of_a_write_follow_those_before() {
        let mut output = Output::default();
        output.push(&header(3, None), b"abc");
        output.advance(2);
        output.push_encoded(&Bytes::from(vec![9; BY_REFERENCE]));
        output.push(&header(1, None), b"d");
        let wire: Vec<u8> = {
            let mut wire = b"abc".to_vec();
            wire.extend(vec![9; BY_REFERENCE]);
            wire.extend([0x82, 1, b'd']);
            wire
        };
        assert_eq!(output.copy_to_bytes(output.remaining()), wire);
    }

    #[test]
    fn a_masked_payload_is_copied_so_that_shared_bytes_stay_as_they_are() {
        let payload = Bytes::from(vec![7; BY_REFERENCE]);
        let key = MaskKey::new([1, 2, 3, 4]);
        let mut output = Output::default();
        output.push_shared(&header(payload.len(), Some(key)), &payload);
        assert!(payload.iter().all(|&byte| byte == 7));
        output.advance(8);
        assert_eq!(output.chunk()[..4], [6, 5, 4, 3]);
    }

    /// §10.4: a peer that reads slowly, and a sender that always has more.
    #[test]
    fn an_output_that_is_never_empty_keeps_only_what_was_not_written() {
        let mut output = Output::default();
        let mut expected = VecDeque::new();
        for i in 0..20_000_usize {
            let payload = [i as u8; 100];
            output.push(&header(100, None), &payload);
            expected.extend([0x82, 100].iter().chain(&payload));
            while output.remaining() > 1_000 {
                let byte = output.chunk()[0];
                assert_eq!(Some(byte), expected.pop_front());
                output.advance(1);
            }
            assert!(output.buffer.len() <= BUFFER);
        }
    }

    #[test]
    fn an_empty_output_keeps_no_buffer() {
        let (mut output, _) = filled();
        output.advance(output.remaining());
        assert!(output.buffer.is_empty());
        assert_eq!(output.references.capacity(), 0);
    }

    #[test]
    fn an_output_that_is_shrunk_keeps_what_waits_and_little_more() {
        for skipped in [0, 3, 5_000, 8_200] {
            let (mut output, wire) = filled();
            output.advance(skipped);
            output.shrink();
            assert!(output.buffer.len() <= BUFFER / 8);
            assert_eq!(output.copy_to_bytes(output.remaining()), wire[skipped..]);
        }
    }
}
