//! Compressed messages as another implementation reads and writes them.

#![allow(dead_code, reason = "what fuzzes reads only")]

use miniz_oxide::deflate::core::{CompressorOxide, create_comp_flags_from_zip_params};
use miniz_oxide::deflate::stream::deflate;
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::{
    TINFL_FLAG_HAS_MORE_INPUT, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF,
};
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};
use miniz_oxide::{MZFlush, MZStatus};

/// What is wrong with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Invalid,
    TooLong,
}

/// Inflates messages by RFC 7692 §7.2.2, the plain way: with all of the output as the window.
#[derive(Default)]
pub(crate) struct Reader {
    /// All that came before, if messages may refer to it.
    window: Vec<u8>,
}

impl Reader {
    /// Inflates a message that has its end; what came before the fault, if there is one.
    pub(crate) fn message(&mut self, payload: &[u8], limit: usize) -> (Vec<u8>, Result<(), Fault>) {
        let start = self.window.len();
        self.window.resize(start + limit + 1, 0);
        let mut at = start;
        let verdict = self.inflate(payload, &mut at, start + limit);
        self.window.truncate(at);
        (self.window[start..].to_vec(), verdict)
    }

    fn inflate(&mut self, payload: &[u8], at: &mut usize, end: usize) -> Result<(), Fault> {
        let mut state = DecompressorOxide::new();
        let mut rest = payload;
        let mut has_begun = false;
        while !rest.is_empty() {
            let (used, status) = self.step(&mut state, rest, at);
            if *at > end {
                return Err(Fault::TooLong);
            }
            rest = &rest[used..];
            has_begun = true;
            match status {
                TINFLStatus::Done => {
                    state = DecompressorOxide::new();
                    has_begun = false;
                }
                TINFLStatus::NeedsMoreInput => {}
                _ => return Err(Fault::Invalid),
            }
        }
        // The tail, and an end behind it: nothing may come of them.
        let before = *at;
        if has_begun {
            let tail = [0, 0, 0xff, 0xff, 1, 0, 0, 0xff, 0xff];
            let (used, status) = self.step(&mut state, &tail, at);
            if (used, status, *at) != (tail.len(), TINFLStatus::Done, before) {
                *at = before;
                return Err(Fault::Invalid);
            }
        }
        Ok(())
    }

    fn step(
        &mut self,
        state: &mut DecompressorOxide,
        input: &[u8],
        at: &mut usize,
    ) -> (usize, TINFLStatus) {
        let flags = TINFL_FLAG_HAS_MORE_INPUT | TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
        let (status, used, written) = decompress(state, input, &mut self.window, *at, flags);
        *at += written;
        (used, status)
    }
}

/// Deflates messages by RFC 7692 §7.2.1 with a window of 32 KiB.
pub(crate) struct Writer(Box<CompressorOxide>);

impl Writer {
    pub(crate) fn new(level: i32) -> Self {
        let flags = create_comp_flags_from_zip_params(level, -15, 0);
        Self(Box::new(CompressorOxide::new(flags)))
    }

    /// Deflates the next message.
    pub(crate) fn message(&mut self, message: &[u8]) -> Vec<u8> {
        let mut payload = vec![0; 2 * message.len() + 1000];
        let result = deflate(&mut self.0, message, &mut payload, MZFlush::Sync);
        assert_eq!(result.status, Ok(MZStatus::Ok));
        assert_eq!(result.bytes_consumed, message.len());
        payload.truncate(result.bytes_written);
        assert!(payload.ends_with(&[0, 0, 0xff, 0xff]));
        payload.truncate(payload.len() - 4);
        payload
    }
}
