//! The encoded frames that wait to be written.

use std::collections::VecDeque;
use std::fmt;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

use crate::buffer::{Buffer, copy_into};
use crate::frame::{FrameHeader, MaskKey};

/// Encoded frames, in the order in which they are to be written. It is a [`Buf`]: write its
/// [`chunk`](Buf::chunk)s and [`advance`](Buf::advance) over what was written.
///
/// Small payloads stand in blocks with their headers, so that many frames leave in one write; large
/// ones are kept by reference. No block grows: what it cannot hold goes on in the next one.
#[derive(Default)]
pub struct Output {
    /// To be written before the last.
    full: VecDeque<Block>,
    last: Block,
    remaining: usize,
    /// How many bytes were written in all.
    passed: u64,
}

/// A buffer, and what is to be written in between its bytes.
#[derive(Default)]
struct Block {
    /// What is to be written stands in `start..end`, but for what is kept by reference.
    buffer: Buffer,
    start: usize,
    end: usize,
    references: VecDeque<Reference>,
}

/// Bytes that are to be written before those from `at` on in the buffer.
struct Reference {
    at: usize,
    bytes: Bytes,
}

/// From this length on, a shared payload is kept by reference: copying 4 KiB costs more than
/// another slice in the write does.
pub(super) const BY_REFERENCE: usize = 4 << 10;

/// How large the first block is at least.
const FIRST: usize = 512;

/// How large the others are at least. If the thread has kept such a one, it is the first, since it
/// costs nothing.
const BLOCK: usize = 16 << 10;

/// How large a block is at most.
const LARGEST: usize = 64 << 10;

impl Output {
    /// Adds a frame with a payload that is copied, and masked if the header says so.
    // Inlined, and its bytes never borrowed, so that the header stands in registers: from memory it
    // could be loaded only after all of its parts have been stored, which takes 3 ns.
    #[inline(always)]
    pub(super) fn push(&mut self, header: &FrameHeader, payload: &[u8]) {
        let encoded = header.encode();
        let (padded, head) = encoded.padded();
        if self.last.room() < padded.len() + payload.len() {
            return self.push_in_pieces(*header, payload);
        }
        let room = self.add(head + payload.len());
        // A copy of constant length is a few instructions. What is too much of it is overwritten,
        // by the payload or by the next frame.
        room[..padded.len()].copy_from_slice(&padded);
        copy_masked(&mut room[head..][..payload.len()], payload, header.mask);
    }

    /// Adds a frame with a payload that may be kept by reference.
    pub(super) fn push_shared(&mut self, header: &FrameHeader, payload: Bytes) {
        if header.mask.is_some() || payload.len() < BY_REFERENCE {
            return self.push(header, &payload);
        }
        self.push(header, &[]);
        self.refer_to(payload);
    }

    /// Adds frames that are encoded already.
    #[inline]
    pub(super) fn push_encoded(&mut self, frames: &Bytes) {
        if frames.len() >= BY_REFERENCE {
            self.refer_to(frames.clone());
        } else if frames.len() <= self.last.room() {
            self.add(frames.len())[..frames.len()].copy_from_slice(frames);
        } else {
            self.extend(frames, None);
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

    /// Gives up memory that is not needed for what waits. An adapter calls it when a write has to
    /// wait, since that may be long.
    pub fn shrink(&mut self) {
        self.full.iter_mut().for_each(Block::shrink);
        self.last.shrink();
    }

    /// Adds a frame that the last block cannot hold.
    #[inline(never)]
    fn push_in_pieces(&mut self, header: FrameHeader, payload: &[u8]) {
        let encoded = header.encode();
        let encoded = encoded.as_slice();
        if self.remaining == 0 {
            self.begin_block(encoded.len() + payload.len());
        }
        self.extend(encoded, None);
        self.extend(payload, header.mask);
    }

    /// Adds bytes, as many to each block as it holds.
    #[inline(never)]
    fn extend(&mut self, mut bytes: &[u8], mut mask: Option<MaskKey>) {
        while !bytes.is_empty() {
            if self.last.room() == 0 {
                self.begin_block(bytes.len());
            }
            let (piece, rest) = bytes.split_at(bytes.len().min(self.last.room()));
            let room = self.add(piece.len());
            copy_masked(&mut room[..piece.len()], piece, mask);
            mask = mask.map(|key| key.after(piece.len()));
            bytes = rest;
        }
    }

    fn refer_to(&mut self, bytes: Bytes) {
        self.remaining += bytes.len();
        self.last.references.push_back(Reference {
            at: self.last.end,
            bytes,
        });
    }

    /// Gives back all memory. To look whether there is any takes less than to drop none.
    #[inline]
    fn forget(&mut self) {
        if self.full.capacity() > 0 {
            self.full = VecDeque::new();
        }
        if self.last.references.capacity() > 0 {
            self.last.references = VecDeque::new();
        }
        self.last.buffer = Buffer::default();
        (self.last.start, self.last.end) = (0, 0);
    }

    /// Counts `len` more bytes, and gives the room for them with all that is behind it.
    #[inline]
    fn add(&mut self, len: usize) -> &mut [u8] {
        let start = self.last.end;
        self.last.end += len;
        self.remaining += len;
        &mut self.last.buffer[start..]
    }

    /// Begins another block, of about as much as waits.
    #[cold]
    fn begin_block(&mut self, needed: usize) {
        let buffer = match self.remaining {
            0 => Buffer::kept(needed.clamp(BLOCK, LARGEST))
                .unwrap_or_else(|| Buffer::new(needed.clamp(FIRST, LARGEST))),
            waiting => Buffer::new(needed.max(waiting).clamp(BLOCK, LARGEST)),
        };
        if self.last.is_empty() {
            self.last.buffer = buffer;
            (self.last.start, self.last.end) = (0, 0);
            return;
        }
        let begun = Block {
            buffer,
            ..Block::default()
        };
        self.full
            .push_back(std::mem::replace(&mut self.last, begun));
    }
}

impl Block {
    /// How many more bytes the buffer holds.
    #[inline]
    fn room(&self) -> usize {
        self.buffer.len() - self.end
    }

    fn is_empty(&self) -> bool {
        self.start == self.end && self.references.is_empty()
    }

    /// How far the buffer is to be written before something else is.
    fn buffered_end(&self) -> usize {
        self.references.front().map_or(self.end, |next| next.at)
    }

    #[inline]
    fn chunk(&self) -> &[u8] {
        match self.references.front() {
            Some(next) if next.at == self.start => &next.bytes,
            _ => &self.buffer[self.start..self.buffered_end()],
        }
    }

    fn chunks(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = self.start;
        let chunks = self.references.iter().flat_map(move |next| {
            let buffered = &self.buffer[start..next.at];
            start = next.at;
            [buffered, &next.bytes[..]]
        });
        let last = self.references.back().map_or(self.start, |last| last.at);
        chunks
            .chain([&self.buffer[last..self.end]])
            .filter(|chunk| !chunk.is_empty())
    }

    /// Passes over `count` bytes, and gives how many of them are beyond the end.
    fn advance(&mut self, mut count: usize) -> usize {
        loop {
            let buffered = (self.buffered_end() - self.start).min(count);
            self.start += buffered;
            count -= buffered;
            let Some(next) = self.references.front_mut() else {
                return count;
            };
            if count < next.bytes.len() {
                next.bytes.advance(count);
                return 0;
            }
            count -= next.bytes.len();
            self.references.pop_front();
        }
    }

    fn shrink(&mut self) {
        let waiting = self.end - self.start;
        if self.buffer.len() <= 2 * waiting.max(FIRST) {
            return;
        }
        let mut buffer = Buffer::new(waiting);
        copy_into(&mut buffer[..waiting], &self.buffer[self.start..self.end]);
        self.buffer = buffer;
        for reference in &mut self.references {
            reference.at -= self.start;
        }
        (self.start, self.end) = (0, waiting);
    }
}

impl Buf for Output {
    #[inline]
    fn remaining(&self) -> usize {
        self.remaining
    }

    #[inline]
    fn chunk(&self) -> &[u8] {
        self.full.front().unwrap_or(&self.last).chunk()
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let blocks = self.full.iter().chain([&self.last]);
        let mut count = 0;
        for (slice, chunk) in slices.iter_mut().zip(blocks.flat_map(Block::chunks)) {
            *slice = IoSlice::new(chunk);
            count += 1;
        }
        count
    }

    /// # Panics
    ///
    /// Panics if `count` is more than what remains.
    fn advance(&mut self, count: usize) {
        assert!(count <= self.remaining, "cannot advance past the end");
        self.remaining -= count;
        self.passed += count as u64;
        if self.remaining == 0 {
            return self.forget();
        }
        let mut count = count;
        while let Some(front) = self.full.front_mut() {
            count = front.advance(count);
            if !front.is_empty() {
                return;
            }
            self.full.pop_front();
        }
        self.last.advance(count);
    }
}

/// Copies `source` to `target`, which is as long. §5.3: a payload is masked, a header is not.
#[inline]
fn copy_masked(target: &mut [u8], source: &[u8], mask: Option<MaskKey>) {
    match mask {
        Some(key) => key.apply_into(target, source),
        None => copy_into(target, source),
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
            output.push_shared(&header, payload.clone());
            wire.extend_from_slice(header.encode().as_slice());
            wire.extend_from_slice(&payload);
        }
        (output, wire)
    }

    /// How many bytes the blocks have.
    fn memory(output: &Output) -> usize {
        let blocks = output.full.iter().chain([&output.last]);
        blocks.map(|block| block.buffer.len()).sum()
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

    /// M4, B5.
    #[test]
    fn a_masked_payload_is_copied_so_that_shared_bytes_stay_as_they_are() {
        let payload = Bytes::from(vec![7; BY_REFERENCE]);
        let key = MaskKey::new([1, 2, 3, 4]);
        let mut output = Output::default();
        output.push_shared(&header(payload.len(), Some(key)), payload.clone());
        assert!(payload.iter().all(|&byte| byte == 7));
        output.advance(8);
        assert_eq!(output.chunk()[..4], [6, 5, 4, 3]);
    }

    #[test]
    fn a_frame_that_a_block_cannot_hold_goes_on_in_the_next_one() {
        let key = MaskKey::new([1, 2, 3, 4]);
        for mask in [None, Some(key)] {
            for len in [0, 1, 9, 300, 3 * LARGEST] {
                // Where the frame begins, before the end of the block that it is to be begun in.
                for room in 0..40 {
                    let mut output = Output::default();
                    let before = vec![5; 65 * FIRST / 64 - room];
                    output.extend(&before, None);
                    let payload: Vec<u8> = (0..len).map(|i| i as u8).collect();
                    output.push(&header(len, mask), &payload);
                    output.push(&header(1, None), b"d");

                    let mut wire = before;
                    wire.extend_from_slice(header(len, mask).encode().as_slice());
                    let start = wire.len();
                    wire.extend_from_slice(&payload);
                    mask.unwrap_or_default().apply(&mut wire[start..]);
                    wire.extend([0x82, 1, b'd']);
                    assert!(memory(&output) <= 5 * wire.len() + 2 * BLOCK);
                    assert!(
                        output.copy_to_bytes(output.remaining()) == wire,
                        "{len}, {room}"
                    );
                }
            }
        }
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
            assert!(memory(&output) <= 65 * BLOCK / 64 * 2);
        }
    }

    #[test]
    fn an_empty_output_keeps_no_buffer() {
        let (mut output, _) = filled();
        output.advance(output.remaining());
        assert_eq!(memory(&output), 0);
        assert_eq!(output.full.capacity(), 0);
        assert_eq!(output.last.references.capacity(), 0);
    }

    #[test]
    fn an_output_that_is_shrunk_keeps_what_waits_and_little_more() {
        for skipped in [0, 3, 5_000, 8_200] {
            let (mut output, wire) = filled();
            output.advance(skipped);
            output.shrink();
            assert!(memory(&output) <= 4 * FIRST);
            assert_eq!(output.copy_to_bytes(output.remaining()), wire[skipped..]);
        }
    }
}
