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
                        let before = self.window_size - ring.len().min(self.window_size);
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
            return Ok(Inflated {
                used,
                piece: ring.newest(produced),
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
mod tests;
