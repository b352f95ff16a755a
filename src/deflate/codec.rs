//! From payloads to DEFLATE and back (RFC 7692 §7.2.1, §7.2.2; RFC 1951).

use std::ops::Deref;
use std::sync::OnceLock;

use zlib_rs::{Deflate, DeflateFlush, Inflate, InflateFlush, Status};

use super::context::Context;
use super::pool::{self, DeflateState, InflateState, Known, Lent, Scratch};
use super::{DeflateParams, Effort, Inflated, InvalidDeflate};

/// Inflates the messages of the peer, one after the other, each in pieces.
///
/// Within a message distances of up to 32 KiB are followed, whatever was agreed: how far they lead
/// could be checked only where bytes happen to be cut. Into the messages before, they lead as far
/// as was agreed, since no more is kept.
pub(crate) struct Inflater {
    /// How many bytes before a message its distances may lead to.
    window_size: usize,
    /// What the next message may refer to, if it may.
    context: Option<Context>,
    /// For as long as a message takes.
    state: Option<Lent<InflateState>>,
    /// No bit of the next block has come.
    is_between_streams: bool,
    /// Behind the piece that was given out last, the input is not DEFLATE.
    has_failed: bool,
    /// How much of the message was used so far, and how many final blocks were in it.
    used: usize,
    final_blocks: usize,
}

/// Deflates messages, one after the other.
pub(crate) struct Deflater {
    window_bits: u8,
    effort: Effort,
    /// What the next message may refer to, if it may.
    context: Option<Context>,
    /// For as long as a message takes.
    state: Option<Lent<DeflateState>>,
}

/// What was deflated, in a buffer of the thread.
pub(crate) struct Deflated(Lent<Scratch>);

/// What a message is once it is deflated by itself: something for each window size, made at most
/// once. `None` where the message would not be smaller.
///
/// Boxed, since most messages have one variant or none.
pub(crate) struct Variants<T>([OnceLock<Option<Box<T>>>; WINDOW_SIZES]);

/// The last bytes of a message, in a circle. What is written next lies in it too.
pub(super) struct Ring {
    bytes: Box<[u8]>,
    /// Where the next byte goes.
    at: usize,
    len: usize,
}

/// §7.2.1, §7.2.2: what a sender takes off the end of a message, and a receiver puts back.
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// An empty block, beginning with a byte. Behind a block that ended inside of one it is not.
const EMPTY: [u8; 5] = [0, 0, 0, 0xff, 0xff];

/// From 2^9 to 2^15: zlib makes a window of 512 bytes where 256 are asked for.
const WINDOW_SIZES: usize = 7;

const LARGEST_WINDOW: usize = 1 << 15;

/// How much shorter than its window a distance is that zlib makes.
const UNUSED_WINDOW: usize = 262;

/// How many final blocks a message may have, and one more for every so many bytes. Each costs as
/// much as copying the window, and a sender needs none.
const FINAL_BLOCKS: usize = 64;
const BYTES_OF_FINAL_BLOCK: usize = 64;

impl Inflater {
    /// Inflates what the client sends, or what the server sends.
    pub(crate) fn new(params: DeflateParams, from_client: bool) -> Self {
        let (window_bits, takes_over) = direction(params, from_client);
        // zlib makes a window of 2^9 where 2^8 is asked for, and so may the peer.
        let window_size = 1 << window_bits.max(9);
        Self {
            window_size,
            context: takes_over.then(|| Context::new(window_size)),
            state: None,
            is_between_streams: true,
            has_failed: false,
            used: 0,
            final_blocks: 0,
        }
    }

    /// Inflates `input`, which goes on with a message or begins one, until it is used up or a
    /// piece is full; and gives at most one byte more than `limit`.
    pub(crate) fn inflate(
        &mut self,
        input: &[u8],
        limit: usize,
    ) -> Result<Inflated<'_>, InvalidDeflate> {
        if self.has_failed {
            return Err(InvalidDeflate);
        }
        let state = match &mut self.state {
            Some(state) => state,
            state => state.insert(begin(self.context.as_ref(), self.window_size)),
        };
        let InflateState { inflate, ring, .. } = &mut **state;
        let start = ring.start();
        let mut used = 0;
        loop {
            let space = ring.space(limit.saturating_add(1));
            let space_len = space.len();
            let before = (inflate.total_in(), inflate.total_out());
            let result = inflate.decompress(&input[used..], space, InflateFlush::NoFlush);
            let taken = (inflate.total_in() - before.0) as usize;
            let produced = (inflate.total_out() - before.1) as usize;
            used += taken;
            ring.advance(produced);
            self.is_between_streams &= taken == 0;
            let pending = match result {
                Ok(Status::StreamEnd) => {
                    self.final_blocks += 1;
                    let allowed = FINAL_BLOCKS + (self.used + used) / BYTES_OF_FINAL_BLOCK;
                    self.has_failed = self.final_blocks > allowed;
                    // §7.2.3.4: a final block ends no message, and a window lives on.
                    inflate.reset(false);
                    if let Some(context) = &self.context {
                        let before = self.window_size - ring.len.min(self.window_size);
                        refer_to(inflate, context.window().last(before));
                    }
                    refer_to(inflate, ring.last(self.window_size));
                    self.is_between_streams = true;
                    if produced == 0 && used < input.len() && !self.has_failed {
                        continue;
                    }
                    self.has_failed
                }
                Ok(_) => produced == space_len,
                Err(_) => {
                    self.has_failed = true;
                    true
                }
            };
            self.used = self.used.saturating_add(used);
            let piece = &ring.bytes[start..start + produced];
            return Ok(Inflated {
                used,
                piece,
                pending,
            });
        }
    }

    /// Ends a message of which all was inflated (§7.2.2).
    pub(crate) fn finish(&mut self) -> Result<(), InvalidDeflate> {
        (self.used, self.final_blocks) = (0, 0);
        let Some(mut state) = self.state.take() else {
            return Ok(());
        };
        let was_between_streams = std::mem::replace(&mut self.is_between_streams, true);
        let InflateState { inflate, ring, .. } = &mut *state;
        // What ends with a final block, or is empty, is complete without the tail.
        if !was_between_streams {
            ends_block(inflate, &TAIL)?;
            ends_block(inflate, &EMPTY)?;
        }
        if let Some(context) = &mut self.context {
            for part in ring.last(self.window_size) {
                context.push(part);
            }
            if self.window_size == LARGEST_WINDOW {
                state.set_mark(context.mark());
            }
        }
        Ok(())
    }
}

/// How long a message must be to be compressed by itself: chat lines of 80 bytes stay as long.
const THRESHOLD: usize = 128;

/// The same with context takeover, where such lines shrink to half.
const THRESHOLD_IN_CONTEXT: usize = 16;

impl Deflater {
    /// Deflates what the client sends, or what the server sends. `None` if the window that was
    /// agreed on is smaller than any that can be deflated with: then nothing is compressed.
    pub(crate) fn new(params: DeflateParams, from_client: bool, effort: Effort) -> Option<Self> {
        let (window_bits, takes_over) = direction(params, from_client);
        (window_bits >= 9).then(|| Self {
            window_bits,
            effort,
            context: takes_over.then(|| {
                let usable = (1 << window_bits) - UNUSED_WINDOW;
                Context::new(usable.min(effort.history))
            }),
            state: None,
        })
    }

    /// Whether a message of this length is worth it.
    pub(crate) const fn wants(&self, len: usize) -> bool {
        let threshold = match self.effort.threshold {
            Some(threshold) => threshold,
            None if self.context.is_some() => THRESHOLD_IN_CONTEXT,
            None => THRESHOLD,
        };
        len > 0 && len >= threshold
    }

    /// Whether a message of this length is worth it by itself.
    pub(crate) fn wants_by_itself(&self, len: usize) -> bool {
        len > 0 && len >= self.effort.threshold.unwrap_or(THRESHOLD)
    }

    /// Deflates a message. `None` if it is to be sent as it is, since it would not be smaller.
    ///
    /// With context takeover it is deflated all the same: what went through the compressor has to
    /// go to the peer, and a few bytes more cost less than a context.
    pub(crate) fn message(&mut self, payload: &[u8]) -> Option<Deflated> {
        let deflated = self.piece(payload, true);
        (self.context.is_some() || deflated.len() < payload.len()).then_some(deflated)
    }

    /// Deflates a piece of a message, of which nothing is held back.
    pub(crate) fn piece(&mut self, payload: &[u8], is_last: bool) -> Deflated {
        let mut state = match self.state.take() {
            Some(state) => state,
            None => self.begin(),
        };
        let mut deflated = deflate(&mut state.deflate, payload);
        if let Some(context) = &mut self.context {
            context.push(payload);
        }
        if is_last {
            // §7.2.1: the tail is taken off. What is empty behind a flush is not flushed again:
            // then one byte stands for the empty block that the receiver completes (§7.2.3.6).
            match deflated.written().len().checked_sub(TAIL.len()) {
                Some(len) => deflated.truncate(len),
                None => {
                    deflated.space(1)[0] = 0;
                    deflated.advance(1);
                }
            }
            if let Some(context) = &self.context {
                state.set_mark(context.mark());
            }
        } else {
            self.state = Some(state);
        }
        Deflated(deflated)
    }

    /// Begins anew with the next message, since the peer was sent what this has not seen.
    pub(crate) fn forget(&mut self) {
        if let Some(context) = &mut self.context {
            context.clear();
        }
        self.state = None;
    }

    /// A state that has seen what a message may refer to.
    fn begin(&self) -> Lent<DeflateState> {
        let mark = self.context.as_ref().map(Context::mark);
        let (mut state, known) = pool::deflate_state(self.window_bits, self.effort.level, mark);
        if let (Some(context), Known::Nothing) = (&self.context, known) {
            #[cfg(test)]
            tests::LOADS.with(|loads| loads.set(loads.get() + 1));
            let window = context.window().last(usize::MAX);
            for part in window.into_iter().filter(|part| !part.is_empty()) {
                let result = state.deflate.set_dictionary(part);
                result.expect("a stream without a header takes one where nothing waits");
            }
        }
        state
    }
}

impl<T> Variants<T> {
    /// What `payload` is for the peer of `deflater`; `make` is called with it deflated by itself.
    pub(crate) fn get_or_make(
        &self,
        deflater: &Deflater,
        payload: &[u8],
        make: impl FnOnce(&[u8]) -> T,
    ) -> Option<&T> {
        let variant = &self.0[usize::from(deflater.window_bits) - 9];
        let variant = variant.get_or_init(|| {
            let mut by_itself = Deflater {
                window_bits: deflater.window_bits,
                effort: deflater.effort,
                context: None,
                state: None,
            };
            let deflated = by_itself.message(payload)?;
            Some(Box::new(make(&deflated)))
        });
        variant.as_deref()
    }
}

impl<T> Default for Variants<T> {
    fn default() -> Self {
        Self([const { OnceLock::new() }; WINDOW_SIZES])
    }
}

impl Deref for Deflated {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.written()
    }
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
    fn space(&mut self, max: usize) -> &mut [u8] {
        let start = self.start();
        let end = self.bytes.len().min(start.saturating_add(max));
        &mut self.bytes[start..end]
    }

    /// Says that so much of the space was written to.
    fn advance(&mut self, count: usize) {
        self.at = self.start() + count;
        self.len = self.bytes.len().min(self.len + count);
    }

    /// At most the last `count` bytes, in two parts.
    fn last(&self, count: usize) -> [&[u8]; 2] {
        let count = count.min(self.len);
        let (front, back) = self.bytes.split_at(self.at);
        let older = count.saturating_sub(front.len());
        [
            &back[back.len() - older..],
            &front[front.len() - (count - older)..],
        ]
    }
}

/// The window that one side sends with, and whether a message may refer to those before it (§7.1).
fn direction(params: DeflateParams, from_client: bool) -> (u8, bool) {
    let (window_bits, no_takeover) = if from_client {
        (
            params.client_max_window_bits,
            params.client_no_context_takeover,
        )
    } else {
        (
            params.server_max_window_bits,
            params.server_no_context_takeover,
        )
    };
    (window_bits.min(15), !no_takeover)
}

/// A state that has seen what a message may refer to.
fn begin(context: Option<&Context>, window_size: usize) -> Lent<InflateState> {
    // A state follows any distance into what it has seen, so it can go on by itself only where
    // the peer may too.
    let mark = context.filter(|_| window_size == LARGEST_WINDOW);
    let (mut state, known) = pool::inflate_state(mark.map(Context::mark));
    if let (Some(context), Known::Nothing) = (context, known) {
        refer_to(&mut state.inflate, context.window().last(window_size));
    }
    state
}

/// Inflates `bytes`, which have to end a block, and to give nothing.
fn ends_block(inflate: &mut Inflate, bytes: &[u8]) -> Result<(), InvalidDeflate> {
    // It stops where a block ends, so that the last byte is not used.
    let mut input = [0; 6];
    input[..bytes.len()].copy_from_slice(bytes);
    let before = (inflate.total_in(), inflate.total_out());
    let result = inflate.decompress(&input[..=bytes.len()], &mut [0], InflateFlush::Block);
    let is_complete = matches!(result, Ok(Status::Ok))
        && inflate.total_in() - before.0 == bytes.len() as u64
        && inflate.total_out() == before.1;
    if is_complete {
        Ok(())
    } else {
        Err(InvalidDeflate)
    }
}

/// Has what comes next refer to `window`, in two parts, as if it were a part of the stream.
fn refer_to(inflate: &mut Inflate, window: [&[u8]; 2]) {
    #[cfg(test)]
    tests::LOADS.with(|loads| loads.set(loads.get() + 1));
    for part in window.into_iter().filter(|part| !part.is_empty()) {
        inflate
            .set_dictionary(part)
            .expect("a stream without a header takes one between two blocks");
    }
}

/// Deflates all of `payload` and flushes it (§7.2.1).
fn deflate(deflate: &mut Deflate, payload: &[u8]) -> Lent<Scratch> {
    #[cfg(test)]
    tests::CALLS.with(|calls| calls.set(calls.get() + 1));
    let mut out = pool::scratch();
    let mut rest = payload;
    loop {
        // With less room than this, zlib could flush the same bytes twice.
        let space = out.space(rest.len() / 2 + 64);
        let space_len = space.len();
        let before = (deflate.total_in(), deflate.total_out());
        let status = deflate
            .compress(rest, space, DeflateFlush::SyncFlush)
            .expect("its parameters are valid, and it is never told that the stream ends");
        rest = &rest[(deflate.total_in() - before.0) as usize..];
        let produced = (deflate.total_out() - before.1) as usize;
        out.advance(produced);
        let is_flushed = produced < space_len;
        if rest.is_empty() && (is_flushed || status == Status::BufError) {
            return out;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        /// How often something was deflated.
        pub(super) static CALLS: Cell<usize> = const { Cell::new(0) };
        /// How often a window was loaded.
        pub(super) static LOADS: Cell<usize> = const { Cell::new(0) };
    }

    const PARAMS: DeflateParams = DeflateParams {
        server_no_context_takeover: false,
        client_no_context_takeover: true,
        server_max_window_bits: 15,
        client_max_window_bits: 15,
    };
    const EFFORT: Effort = Effort {
        level: 6,
        threshold: Some(0),
        history: 4 << 10,
    };

    /// Inflates messages one after the other, whole and in single bytes, which must agree.
    fn inflate(from_client: bool, messages: &[&[u8]]) -> Result<Vec<Vec<u8>>, InvalidDeflate> {
        let [whole, single] = [usize::MAX, 1].map(|step| {
            let mut inflater = Inflater::new(PARAMS, from_client);
            let inflate = |payload: &&[u8]| {
                let mut message = Vec::new();
                for mut chunk in payload.chunks(step) {
                    loop {
                        let inflated = inflater.inflate(chunk, usize::MAX)?;
                        message.extend_from_slice(inflated.piece);
                        chunk = &chunk[inflated.used..];
                        if chunk.is_empty() && !inflated.pending {
                            break;
                        }
                    }
                }
                inflater.finish()?;
                Ok(message)
            };
            messages.iter().map(inflate).collect()
        });
        assert_eq!(whole, single);
        whole
    }

    /// E8, §7.2.3.1, §7.2.3.3, §7.2.3.4, §7.2.3.5, §7.2.3.6.
    #[test]
    fn the_examples_of_one_message_are_inflated() {
        for (payload, message) in [
            (&b"\xf2\x48\xcd\xc9\xc9\x07\x00"[..], &b"Hello"[..]),
            (b"\x00\x05\x00\xfa\xffHello\x00", b"Hello"),
            (b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00", b"Hello"),
            (
                b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00",
                b"Hello",
            ),
            (b"\x00", b""),
        ] {
            for from_client in [true, false] {
                let messages = inflate(from_client, &[payload, payload]);
                assert_eq!(messages, Ok(vec![message.into(), message.into()]));
            }
        }
    }

    /// E9, §7.2.3.2: the second message refers to the first, if that was agreed on.
    #[test]
    fn the_example_of_a_shared_window_is_inflated() {
        let messages: [&[u8]; 2] = [b"\xf2\x48\xcd\xc9\xc9\x07\x00", b"\xf2\x00\x11\x00\x00"];
        assert_eq!(inflate(false, &messages), Ok(vec![b"Hello".into(); 2]));
        assert_eq!(inflate(true, &messages), Err(InvalidDeflate));
    }

    /// E10.
    #[test]
    fn the_examples_are_deflated() {
        let mut deflater = Deflater::new(PARAMS, false, EFFORT).unwrap();
        let mut hello = || deflater.message(b"Hello").unwrap().to_vec();
        assert_eq!(hello(), b"\xf2\x48\xcd\xc9\xc9\x07\x00");
        assert_eq!(hello(), b"\xf2\x00\x11\x00\x00");
        let mut deflater = Deflater::new(PARAMS, true, EFFORT).unwrap();
        assert_eq!(
            *deflater.piece(b"Hello", true),
            *b"\xf2\x48\xcd\xc9\xc9\x07\x00"
        );
        assert_eq!(*deflater.piece(b"", true), [0]);
        assert!(
            deflater.message(b"Hello").is_none(),
            "it is shorter as it is"
        );
    }

    /// E11, §7.2.2: the tail must end a block, and give nothing.
    #[test]
    fn a_message_that_the_tail_does_not_complete_is_invalid() {
        for payload in [
            // Inside a block of fixed codes, of all lengths.
            &b"\xf2"[..],
            b"\xf2\x48",
            b"\xf2\x48\xcd\xc9\xc9",
            b"\xf2\x48\xcd\xc9\xc9\x07",
            // The tail was not taken off, or in part.
            b"\xf2\x48\xcd\xc9\xc9\x07\x00\x00\x00\xff\xff",
            b"\xf2\x48\xcd\xc9\xc9\x07\x00\x00",
            b"\xf2\x48\xcd\xc9\xc9\x07\x00\x00\x00\xff",
            // The tail would be the data of a stored block, or a part of its length.
            b"\x00\x04\x00\xfb\xff",
            b"\x00\xff",
            // Inside the lengths of a dynamic block.
            b"\x04",
        ] {
            assert_eq!(
                inflate(true, &[payload]),
                Err(InvalidDeflate),
                "{payload:x?}"
            );
        }
    }

    /// §7.2.2: a header that the tail goes on with, so that its last byte ends a block and begins
    /// another.
    #[test]
    fn a_message_whose_tail_ends_a_block_inside_a_byte_is_invalid() {
        let mut bits = Vec::new();
        let mut put = |value: u32, count: u32| bits.extend((0..count).map(|i| value >> i & 1));
        // A dynamic block with 286 and 7 codes.
        put(0b100, 3);
        put(286 - 257, 5);
        put(7 - 1, 5);
        put(18 - 4, 4);
        // In it 0 means the length 0, 01 the length 1, and 11 with three bits 3 to 10 zeros.
        let order = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1];
        for symbol in order {
            let len = match symbol {
                0 => 1,
                1 | 17 => 2,
                _ => 0,
            };
            put(len, 3);
        }
        put(0b01, 2);
        (0..18).for_each(|_| put(0b11111, 5));
        (0..75).for_each(|_| put(0, 1));
        put(0b01, 2);
        // What is left are 36 zeros: 16 bits of the tail that are 0, 10 that are 1, and one more,
        // which means that the block ends.
        assert_eq!(bits.len() % 8, 0);
        let byte = |bits: &[u32]| {
            bits.iter()
                .rev()
                .fold(0, |byte, &bit| byte << 1 | bit as u8)
        };
        let payload: Vec<u8> = bits.chunks(8).map(byte).collect();
        let mut inflater = Inflate::new(false, 15);
        let input = [&payload[..], &TAIL].concat();
        let result = inflater.decompress(&input, &mut [0], InflateFlush::Block);
        assert_eq!(result, Ok(Status::Ok));
        assert_eq!(inflater.total_in() as usize, input.len());
        assert_eq!(inflate(false, &[&payload]), Err(InvalidDeflate));
    }

    /// §7.2.3.4: final blocks, each with the window that is there.
    #[test]
    fn a_message_of_final_blocks_refers_to_its_beginning() {
        let mut payload = b"\x00\x05\x00\xfa\xffHello".to_vec();
        for _ in 0..FINAL_BLOCKS {
            payload.extend(b"\x03\x00");
        }
        payload.extend(b"\xf3\x00\x11\x00\x00");
        assert_eq!(inflate(true, &[&payload]), Ok(vec![b"HelloHello".into()]));
    }

    /// §7.2.3.2, §7.2.3.4: the end of the message before, and a final block.
    #[test]
    fn a_final_block_leaves_what_was_before_the_message() {
        let hello = b"\xf2\x48\xcd\xc9\xc9\x07\x00";
        let messages: [&[u8]; 2] = [hello, b"\x03\x00\xf2\x00\x11\x00\x00"];
        assert_eq!(inflate(false, &messages), Ok(vec![b"Hello".into(); 2]));
        assert_eq!(inflate(true, &messages), Err(InvalidDeflate));
    }

    #[test]
    fn a_message_may_have_only_so_many_final_blocks_for_its_length() {
        let blocks = |count| b"\x03\x00".repeat(count);
        let stored = [&b"\x00\x40\x00\xbf\xff"[..], &[7; 64]].concat();
        let slow = [stored.repeat(100), blocks(FINAL_BLOCKS + 100)].concat();
        assert!(inflate(true, &[&blocks(FINAL_BLOCKS), &slow]).is_ok());
        assert!(inflate(true, &[&blocks(FINAL_BLOCKS + 100)]).is_err());
        assert!(inflate(true, &[&slow, &blocks(FINAL_BLOCKS + 100)]).is_err());
    }

    /// Blocks without number that hold nothing cost no more loads of the window than their length
    /// allows.
    #[test]
    fn a_flood_of_final_blocks_is_linear_work() {
        let flood = b"\x03\x00".repeat(1 << 19);
        let mut inflater = Inflater::new(PARAMS, false);
        let before = LOADS.get();
        assert!(inflater.inflate(&flood, 9).is_ok_and(|it| it.pending));
        assert_eq!(inflater.inflate(&flood, 9).err(), Some(InvalidDeflate));
        assert!(LOADS.get() - before <= 3 * FINAL_BLOCKS);
    }

    /// A state of another connection, of another thread, or of before a prepared message.
    #[test]
    fn a_state_goes_on_only_where_it_was_left() {
        let text = |i: usize| format!("message {} of {} for all", i * i, i % 3).repeat(20);
        for window_bits in [9, 12, 15] {
            let params = DeflateParams {
                server_max_window_bits: window_bits,
                ..PARAMS
            };
            let mut pairs: Vec<_> = (0..7)
                .map(|_| {
                    let deflater = Deflater::new(params, false, EFFORT).unwrap();
                    (deflater, Inflater::new(params, false))
                })
                .collect();
            for i in 0..300 {
                let count = if i < 100 { 2 } else { pairs.len() };
                let (deflater, inflater) = &mut pairs[(i * 5 + i / 10) % count];
                let message = text(i);
                let mut deflate = || deflater.message(message.as_bytes()).unwrap().to_vec();
                let deflated = if i % 7 == 0 {
                    std::thread::scope(|scope| scope.spawn(deflate).join().unwrap())
                } else {
                    deflate()
                };
                let inflated = inflater.inflate(&deflated, usize::MAX).unwrap();
                assert!(inflated.piece == message.as_bytes());
                inflater.finish().unwrap();
                if i % 11 == 0 {
                    deflater.forget();
                }
            }
        }
    }

    /// Whatever the thread keeps of others that are gone.
    #[test]
    fn the_few_connections_that_are_busy_load_no_window() {
        for window_bits in [9, 15] {
            let params = DeflateParams {
                server_max_window_bits: window_bits,
                ..PARAMS
            };
            for (count, are_few) in [(1, true), (4, true), (5, false)] {
                let new = || {
                    let deflater = Deflater::new(params, false, EFFORT).unwrap();
                    (deflater, Inflater::new(params, false))
                };
                let mut pairs: Vec<_> = std::iter::repeat_with(new).take(count).collect();
                let mut loads = [0; 2];
                for _ in 0..100 {
                    for (deflater, inflater) in &mut pairs {
                        let before = LOADS.get();
                        let message = deflater.message(b"said again and again").unwrap();
                        let between = LOADS.get();
                        inflater.inflate(&message, usize::MAX).unwrap();
                        inflater.finish().unwrap();
                        loads[0] += between - before;
                        loads[1] += LOADS.get() - between;
                    }
                }
                assert_eq!(loads[0] <= 100, are_few, "{count} of {window_bits} bits");
                // A smaller window is always loaded, since a state follows distances beyond it.
                if window_bits == 15 {
                    assert_eq!(loads[1] <= 100, are_few, "{count}");
                } else {
                    assert!(loads[1] >= 100 * count);
                }
            }
        }
    }

    /// With the state that it left, or with another, a connection sends about as much.
    #[test]
    fn a_loaded_window_compresses_as_well_as_the_state_that_saw_it() {
        let text = |i: usize| format!("{{\"id\":{},\"room\":{},\"said\":\"hello\"}}", i * i, i % 7);
        for window_bits in [9, 12, 15] {
            let params = DeflateParams {
                server_max_window_bits: window_bits,
                ..PARAMS
            };
            let [alone, crowded] = [1, 9].map(|count| {
                let new = || Deflater::new(params, false, EFFORT).unwrap();
                let mut deflaters: Vec<_> = std::iter::repeat_with(new).take(count).collect();
                let mut sent = 0;
                for i in 0..200 {
                    for deflater in &mut deflaters {
                        sent += deflater.message(text(i).as_bytes()).unwrap().len();
                    }
                }
                sent / count
            });
            assert!(
                crowded <= alone + alone / 50,
                "{window_bits}: {crowded} of {alone}"
            );
        }
    }

    /// Members with two window sizes, some of which want no message of this length.
    #[test]
    fn variants_are_deflated_once_for_each_window_size_and_only_if_wanted() {
        let variants = Variants::default();
        let long = vec![7; 1000];
        let noise: Vec<u8> = (0..200_u32).map(|i| ((i * i * 7919) >> 5) as u8).collect();
        let noisy = Variants::default();
        let before = CALLS.get();
        for i in 0..100 {
            let window_bits = [9, 15][i % 2];
            let params = DeflateParams {
                server_no_context_takeover: i % 3 == 0,
                server_max_window_bits: window_bits,
                ..PARAMS
            };
            let deflater = Deflater::new(params, false, EFFORT).unwrap();
            let variant: Option<&usize> = variants.get_or_make(&deflater, &long, <[u8]>::len);
            assert!(variant.is_some_and(|&len| len < 30));
            assert_eq!(noisy.get_or_make(&deflater, &noise, <[u8]>::len), None);
        }
        assert_eq!(CALLS.get() - before, 4);
    }

    #[test]
    fn a_ring_gives_its_last_bytes_in_order() {
        let mut ring = Ring::new(5);
        let mut written = Vec::new();
        for byte in 0..40 {
            let space = ring.space(1 + usize::from(byte) % 3);
            space.fill(byte);
            let len = space.len();
            ring.advance(len);
            written.extend(vec![byte; len]);
            for count in 0..=6 {
                let expected = &written[written.len() - count.min(5).min(written.len())..];
                assert_eq!(ring.last(count).concat(), expected);
            }
        }
    }
}
