//! UTF-8: text that is known to be valid, and validation of text that arrives in pieces (§8.1).
//!
//! The definition is RFC 3629 §4: no overlong forms, no surrogates, nothing above U+10FFFF.

use std::borrow::{Borrow, Cow};
use std::cmp::Ordering;
use std::error::Error;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

use bytes::Bytes;

use crate::buffer::{self, Gathered};
use crate::mask::MaskKey;

/// Shared, immutable text: [`Bytes`] that are known to be UTF-8. Cloning it copies nothing.
///
/// # Examples
///
/// ```
/// use bytes::Bytes;
/// use wsroom::Utf8Bytes;
///
/// let text = Utf8Bytes::try_from(Bytes::from_static("μ".as_bytes()))?;
/// assert_eq!(text, "μ");
/// assert!(Utf8Bytes::try_from(Bytes::from_static(b"\xff")).is_err());
/// # Ok::<(), wsroom::Utf8Error>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Utf8Bytes(Bytes);

impl Utf8Bytes {
    /// Wraps a literal, without a copy.
    pub const fn from_static(text: &'static str) -> Self {
        Self(Bytes::from_static(text.as_bytes()))
    }

    /// Wraps bytes that a [`Utf8Validator`] has accepted to the end.
    ///
    /// # Safety
    ///
    /// `bytes` are valid UTF-8.
    #[expect(unsafe_code)]
    unsafe fn from_validated(bytes: Bytes) -> Self {
        debug_assert!(std::str::from_utf8(&bytes).is_ok());
        Self(bytes)
    }

    /// A copy in memory that the thread lends, if it is long.
    pub(crate) fn copy(text: &str) -> Self {
        Self(buffer::copy(text.as_bytes()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        // SAFETY: every constructor takes a `str`, or bytes that were validated.
        #[expect(unsafe_code)]
        unsafe {
            std::str::from_utf8_unchecked(&self.0)
        }
    }

    /// The bytes of the text, without a copy.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }
}

impl Deref for Utf8Bytes {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for Utf8Bytes {
    fn as_ref(&self) -> &str {
        self
    }
}

/// The bytes as they are shared.
impl AsRef<Bytes> for Utf8Bytes {
    fn as_ref(&self) -> &Bytes {
        &self.0
    }
}

impl AsRef<[u8]> for Utf8Bytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Bytes and text of the same content are hashed and ordered alike.
impl Borrow<str> for Utf8Bytes {
    fn borrow(&self) -> &str {
        self
    }
}

impl Hash for Utf8Bytes {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl From<&str> for Utf8Bytes {
    fn from(text: &str) -> Self {
        Self(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl From<String> for Utf8Bytes {
    fn from(text: String) -> Self {
        Self(text.into_bytes().into())
    }
}

impl From<&String> for Utf8Bytes {
    fn from(text: &String) -> Self {
        text.as_str().into()
    }
}

impl From<Cow<'_, str>> for Utf8Bytes {
    fn from(text: Cow<'_, str>) -> Self {
        text.into_owned().into()
    }
}

impl From<Box<str>> for Utf8Bytes {
    fn from(text: Box<str>) -> Self {
        text.into_string().into()
    }
}

impl From<Utf8Bytes> for Bytes {
    fn from(text: Utf8Bytes) -> Self {
        text.0
    }
}

impl From<Utf8Bytes> for String {
    fn from(text: Utf8Bytes) -> Self {
        text.as_str().to_owned()
    }
}

impl TryFrom<Bytes> for Utf8Bytes {
    type Error = Utf8Error;

    fn try_from(bytes: Bytes) -> Result<Self, Utf8Error> {
        if simdutf8::basic::from_utf8(&bytes).is_err() {
            return Err(Utf8Error);
        }
        // SAFETY: validated in the line above.
        #[expect(unsafe_code)]
        Ok(unsafe { Self::from_validated(bytes) })
    }
}

impl PartialEq<str> for Utf8Bytes {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Utf8Bytes {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl PartialOrd<str> for Utf8Bytes {
    fn partial_cmp(&self, other: &str) -> Option<Ordering> {
        self.as_str().partial_cmp(other)
    }
}

impl fmt::Display for Utf8Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self)
    }
}

impl fmt::Debug for Utf8Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// Bytes are not UTF-8, and no bytes that follow can make them so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Utf8Error;

impl fmt::Display for Utf8Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes are not valid UTF-8")
    }
}

impl Error for Utf8Error {}

/// Unmasks a text in place and validates it, in one pass as long as it is ASCII (§5.3, §8.1).
#[inline(always)]
pub(crate) fn unmask_text(key: Option<MaskKey>, payload: &mut [u8]) -> Result<&str, Utf8Error> {
    if let Some(key) = key
        && key.apply_and_scan(payload)
    {
        // SAFETY: every byte is ASCII, as the line above says, and ASCII is UTF-8.
        #[expect(unsafe_code)]
        return Ok(unsafe { std::str::from_utf8_unchecked(payload) });
    }
    simdutf8::basic::from_utf8(payload).map_err(|_| Utf8Error)
}

/// Validates text that comes in pieces, each byte once, and fails at the first byte that cannot
/// be part of valid text. After an error it is spent.
///
/// # Examples
///
/// ```
/// use wsroom::Utf8Validator;
///
/// let mut validator = Utf8Validator::default();
/// validator.receive(&[0xe2, 0x82])?;
/// assert!(validator.finish().is_err(), "a character is incomplete");
/// validator.receive(&[0xac])?;
/// validator.finish()?;
/// # Ok::<(), wsroom::Utf8Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Utf8Validator {
    /// The bytes of a character whose last byte has not come.
    partial: [u8; 4],
    partial_len: u8,
}

impl Utf8Validator {
    /// Takes the next piece of the text.
    ///
    /// # Errors
    ///
    /// [`Utf8Error`] as soon as it is certain that the text is invalid.
    pub fn receive(&mut self, mut bytes: &[u8]) -> Result<(), Utf8Error> {
        while self.partial_len > 0 {
            let Some((&first, rest)) = bytes.split_first() else {
                return Ok(());
            };
            bytes = rest;
            self.complete(first)?;
        }
        let partial = &bytes[validate_characters(bytes)?..];
        self.partial[..partial.len()].copy_from_slice(partial);
        self.partial_len = partial.len() as u8;
        Ok(())
    }

    /// Checks that the text does not end inside a character.
    ///
    /// # Errors
    ///
    /// [`Utf8Error`] if it does.
    pub fn finish(&self) -> Result<(), Utf8Error> {
        if self.partial_len == 0 {
            Ok(())
        } else {
            Err(Utf8Error)
        }
    }

    /// Adds one byte to the character that is incomplete.
    fn complete(&mut self, byte: u8) -> Result<(), Utf8Error> {
        let len = usize::from(self.partial_len);
        self.partial[len] = byte;
        match std::str::from_utf8(&self.partial[..=len]) {
            Ok(_) => self.partial_len = 0,
            Err(error) if error.error_len().is_some() => return Err(Utf8Error),
            Err(_) => self.partial_len += 1,
        }
        Ok(())
    }
}

/// Validates all of `bytes` but the beginning of a character at their end, of which it is only made
/// sure that valid text can go on with it. Gives where that begins.
fn validate_characters(bytes: &[u8]) -> Result<usize, Utf8Error> {
    let end = bytes.len() - incomplete_len(bytes);
    let (characters, partial) = bytes.split_at(end);
    if simdutf8::basic::from_utf8(characters).is_err() {
        return Err(Utf8Error);
    }
    match std::str::from_utf8(partial) {
        Err(error) if error.error_len().is_some() => Err(Utf8Error),
        _ => Ok(end),
    }
}

/// How many bytes at the end are fewer than their first one announces: up to 3.
fn incomplete_len(bytes: &[u8]) -> usize {
    for (len, byte) in (1..=3).zip(bytes.iter().rev()) {
        let announced = match byte {
            0x80..=0xbf => continue,
            0xc0..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xff => 4,
            0x00..=0x7f => 1,
        };
        return if len < announced { len } else { 0 };
    }
    0
}

/// A text that is being assembled from pieces, and validated when it is asked to, or when much has
/// come: pieces of 64 bytes that are validated each by itself take three times as long in all.
#[derive(Default)]
pub(crate) struct Utf8Buffer {
    bytes: Gathered,
    /// So many bytes at the front are valid text.
    valid: usize,
}

/// How much is validated at the latest, while it is in the cache.
const UNVALIDATED: usize = 4 << 10;

impl Utf8Buffer {
    /// Adds a piece, which may begin or end inside a character. `announced` is how long the text
    /// will be in all, as far as that is known.
    #[inline]
    pub(crate) fn extend(
        &mut self,
        piece: &[u8],
        key: Option<MaskKey>,
        announced: usize,
    ) -> Result<(), Utf8Error> {
        let start = self.bytes.len();
        let added = self.bytes.extend(piece, announced);
        let is_ascii = key.is_some_and(|key| key.apply_and_scan(added));
        self.note_ascii(start, is_ascii);
        if self.bytes.len() - self.valid < UNVALIDATED {
            return Ok(());
        }
        self.validate()
    }

    /// Room for at most `wanted` more bytes.
    pub(crate) fn spare(&mut self, wanted: usize) -> &mut [u8] {
        self.bytes.spare(wanted)
    }

    /// Adds the first `count` bytes of the spare room.
    pub(crate) fn commit(&mut self, count: usize, key: Option<MaskKey>) -> Result<(), Utf8Error> {
        let start = self.bytes.len();
        let added = self.bytes.commit(count);
        let is_ascii = key.is_some_and(|key| key.apply_and_scan(added));
        self.note_ascii(start, is_ascii);
        self.validate()
    }

    /// What came from `start` on is valid if it is ASCII, and what was before it is.
    #[inline]
    const fn note_ascii(&mut self, start: usize, is_ascii: bool) {
        if is_ascii && self.valid == start {
            self.valid = self.bytes.len();
        }
    }

    /// Validates what has come, as far as that is possible before more comes.
    #[inline]
    pub(crate) fn validate(&mut self) -> Result<(), Utf8Error> {
        if self.valid < self.bytes.len() {
            self.valid += validate_characters(&self.bytes.as_ref()[self.valid..])?;
        }
        Ok(())
    }

    pub(crate) const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The whole text, if it is valid and does not end inside a character.
    pub(crate) fn finish(mut self) -> Result<Utf8Bytes, Utf8Error> {
        self.validate()?;
        if self.valid < self.bytes.len() {
            return Err(Utf8Error);
        }
        // SAFETY: all bytes are in front of `valid`, which `validate` and `note_ascii` alone move,
        // over characters that were validated, or are ASCII.
        #[expect(unsafe_code)]
        Ok(unsafe { Utf8Bytes::from_validated(self.bytes.finish()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `bytes` in all ways of cutting them in two and in single bytes; all must agree.
    fn validate(bytes: &[u8]) -> bool {
        let whole = in_pieces([bytes]);
        for at in 0..=bytes.len() {
            let (left, right) = bytes.split_at(at);
            assert_eq!(in_pieces([left, right]), whole, "{bytes:x?} cut at {at}");
        }
        assert_eq!(
            in_pieces(bytes.chunks(1)),
            whole,
            "{bytes:x?} in single bytes"
        );
        whole
    }

    fn in_pieces<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> bool {
        let mut buffer = Utf8Buffer::default();
        let key = MaskKey::new([0x37, 0xfa, 0x21, 0x3d]);
        pieces.into_iter().enumerate().all(|(i, piece)| {
            let mut piece = piece.to_vec();
            if i % 3 == 0 {
                let extended = buffer.extend(&piece, None, 0);
                return extended.is_ok() && (i % 2 == 0 || buffer.validate().is_ok());
            }
            key.apply(&mut piece);
            if i % 3 == 1 || piece.is_empty() {
                return buffer.extend(&piece, Some(key), 0).is_ok();
            }
            let mut rest = &piece[..];
            let mut at = 0;
            while !rest.is_empty() {
                let spare = buffer.spare(rest.len());
                let count = spare.len();
                spare.copy_from_slice(&rest[..count]);
                if buffer.commit(count, Some(key.after(at))).is_err() {
                    return false;
                }
                at += count;
                rest = &rest[count..];
            }
            true
        }) && buffer.finish().is_ok()
    }

    /// T1, T2.
    #[test]
    fn every_sequence_of_up_to_three_bytes_is_judged_as_std_does() {
        let tails = [0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xff];
        for lead in 0..=u8::MAX {
            for second in tails {
                for third in tails {
                    for bytes in [&[lead][..], &[lead, second], &[lead, second, third]] {
                        assert_eq!(validate(bytes), std::str::from_utf8(bytes).is_ok());
                    }
                }
            }
        }
    }

    /// T1, T2.
    #[test]
    fn four_byte_sequences_are_judged_as_std_does_at_their_boundaries() {
        let tails = [0x7f, 0x80, 0x8f, 0x90, 0xbf, 0xc0];
        for lead in 0xf0..=0xf8 {
            for second in tails {
                for third in tails {
                    for fourth in tails {
                        let bytes = [lead, second, third, fourth];
                        assert_eq!(validate(&bytes), std::str::from_utf8(&bytes).is_ok());
                    }
                }
            }
        }
    }

    #[test]
    fn text_longer_than_a_vector_is_valid_wherever_it_is_cut() {
        let text = "aé€😀".repeat(20);
        assert!(validate(text.as_bytes()));
        for at in 0..text.len() {
            let mut broken = text.clone().into_bytes();
            broken[at] = 0xff;
            assert!(!in_pieces([&broken[..]]), "broken at {at}");
        }
    }

    /// T4, RFC 3629 §4: F4 is followed by 80 to 8F; Autobahn 6.4.2 wants to know at the second
    /// byte.
    #[test]
    fn a_fault_is_reported_at_the_first_byte_that_makes_it_certain() {
        for certain in [
            &[0xf4, 0x90][..],
            &[0xed, 0xa0],
            &[0xe0, 0x80],
            &[0xc0],
            &[0xf5],
        ] {
            let mut validator = Utf8Validator::default();
            let (last, before) = certain.split_last().unwrap();
            assert_eq!(validator.receive(before), Ok(()), "{certain:x?}");
            assert_eq!(validator.receive(&[*last]), Err(Utf8Error), "{certain:x?}");
        }
    }

    #[test]
    fn a_masked_text_is_judged_like_the_same_text_unmasked_wherever_it_is_broken() {
        let key = MaskKey::new([0x37, 0xfa, 0x21, 0x3d]);
        for text in ["a".repeat(40), "aé€😀".repeat(4)] {
            for len in 0..=text.len() {
                for broken_at in 0..=len {
                    let mut expected = text.as_bytes()[..len].to_vec();
                    if let Some(byte) = expected.get_mut(broken_at) {
                        *byte ^= 0xff;
                    }
                    let mut payload = expected.clone();
                    key.apply(&mut payload);
                    let unmasked = unmask_text(Some(key), &mut payload).ok();
                    assert_eq!(unmasked, std::str::from_utf8(&expected).ok());
                    let unmasked = unmask_text(None, &mut expected.clone()).ok().map(str::len);
                    assert_eq!(unmasked, std::str::from_utf8(&expected).ok().map(str::len));
                }
            }
        }
    }

    #[test]
    fn a_text_in_which_a_fault_was_found_cannot_be_finished() {
        let mut buffer = Utf8Buffer::default();
        assert!(buffer.extend(b"a\xff", None, 0).is_ok());
        assert!(buffer.validate().is_err());
        assert!(buffer.extend(b"a", Some(MaskKey::default()), 0).is_ok());
        assert!(buffer.validate().is_err());
        assert!(buffer.finish().is_err());
    }

    #[test]
    fn text_can_be_a_key_that_is_looked_up_by_str() {
        let map = std::collections::HashMap::from([(Utf8Bytes::from("key"), 1)]);
        assert_eq!(map.get("key"), Some(&1));
    }
}
