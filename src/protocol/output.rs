//! The encoded frames that wait to be written.

use std::collections::VecDeque;
use std::fmt;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

use crate::frame::{FrameHeader, MaskKey};

/// Encoded frames, in the order in which they are to be written. It is a [`Buf`]: write its
/// [`chunk`](Buf::chunk)s and [`advance`](Buf::advance) over what was written.
///
/// Small payloads stand in one buffer with their headers, so that many frames leave in one write;
/// large ones are kept by reference.
#[derive(Default)]
pub struct Output {
    /// What is to be written before `tail`.
    segments: VecDeque<Bytes>,
    tail: Vec<u8>,
    /// How much of `tail` was written, if `segments` is empty.
    written: usize,
    remaining: usize,
    /// How many bytes were written in all.
    passed: u64,
}

/// From this length on, a shared payload is kept by reference: copying 4 KiB costs more than
/// another slice in the write does.
const BY_REFERENCE: usize = 4 << 10;

/// An empty output keeps a buffer up to this size, to save the next frame its allocation.
const KEPT: usize = 1 << 10;

impl Output {
    /// Adds a frame with a payload that is copied, and masked if the header says so.
    pub(super) fn push(&mut self, header: &FrameHeader, payload: &[u8]) {
        let encoded = header.encode();
        self.make_room(encoded.as_slice().len() + payload.len());
        self.tail.extend_from_slice(encoded.as_slice());
        self.tail.extend_from_slice(payload);
        if let Some(key) = header.mask {
            self.mask_last(key, payload.len());
        }
        self.remaining += encoded.as_slice().len() + payload.len();
    }

    /// Adds a frame with a payload that may be kept by reference.
    pub(super) fn push_shared(&mut self, header: &FrameHeader, payload: &Bytes) {
        if header.mask.is_some() || payload.len() < BY_REFERENCE {
            return self.push(header, payload);
        }
        let encoded = header.encode();
        self.tail.extend_from_slice(encoded.as_slice());
        self.remaining += encoded.as_slice().len();
        self.push_segment(payload.clone());
    }

    /// Adds frames that are encoded already.
    #[inline]
    pub(super) fn push_encoded(&mut self, frames: &Bytes) {
        if frames.len() < BY_REFERENCE {
            self.make_room(frames.len());
            self.tail.extend_from_slice(frames);
            self.remaining += frames.len();
        } else {
            self.push_segment(frames.clone());
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

    fn push_segment(&mut self, segment: Bytes) {
        if !self.tail.is_empty() {
            let mut before = Bytes::from(std::mem::take(&mut self.tail));
            before.advance(std::mem::take(&mut self.written));
            if !before.is_empty() {
                self.segments.push_back(before);
            }
        }
        self.remaining += segment.len();
        self.segments.push_back(segment);
    }

    /// Before `tail` grows, gives up its front if most of it was written, so that an output that
    /// is never quite empty does not keep all that ever passed through it.
    fn make_room(&mut self, additional: usize) {
        let room = self.tail.capacity() - self.tail.len();
        if room < additional && self.written >= self.tail.len() - self.written {
            self.tail.drain(..std::mem::take(&mut self.written));
        }
    }

    /// §5.3: the payload is masked, not the header.
    fn mask_last(&mut self, key: MaskKey, len: usize) {
        let start = self.tail.len() - len;
        key.apply(&mut self.tail[start..]);
    }

    fn advance_tail(&mut self, count: usize) {
        self.written += count;
        debug_assert!(self.written <= self.tail.len());
        if self.written == self.tail.len() {
            self.written = 0;
            if self.tail.capacity() > KEPT {
                self.tail = Vec::new();
            } else {
                self.tail.clear();
            }
        }
    }
}

impl Buf for Output {
    fn remaining(&self) -> usize {
        self.remaining
    }

    fn chunk(&self) -> &[u8] {
        match self.segments.front() {
            Some(segment) => segment,
            None => &self.tail[self.written..],
        }
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let tail = &self.tail[self.written..];
        let chunks = self
            .segments
            .iter()
            .map(|segment| &segment[..])
            .chain((!tail.is_empty()).then_some(tail));
        let mut count = 0;
        for (slice, chunk) in slices.iter_mut().zip(chunks) {
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
        while let Some(segment) = self.segments.front_mut() {
            if count < segment.len() {
                segment.advance(count);
                return;
            }
            count -= segment.len();
            self.segments.pop_front();
        }
        if self.segments.capacity() > 0 && self.remaining == 0 {
            self.segments = VecDeque::new();
        }
        self.advance_tail(count);
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
    use crate::frame::OpCode;

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
            assert!(output.tail.capacity() <= 8_000);
        }
    }

    #[test]
    fn an_empty_output_keeps_no_large_buffer() {
        let (mut output, _) = filled();
        output.advance(output.remaining());
        assert!(output.tail.capacity() <= KEPT);
        assert_eq!(output.segments.capacity(), 0);
    }
}
