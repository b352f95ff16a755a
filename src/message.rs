//! A message as an application sends and gets it (§5.6).

use std::fmt;

use bytes::Bytes;

use crate::utf8::{Utf8Bytes, Utf8Error};

/// A whole message: text or binary. Cloning it copies nothing.
///
/// `Debug` shows the kind and the length, never the content, so that a message can be logged.
///
/// # Examples
///
/// ```
/// use wsroom::Message;
///
/// let message = Message::from("hello");
/// assert_eq!(message.as_text(), Some("hello"));
/// assert_eq!(format!("{message:?}"), "Text(5 bytes)");
///
/// let message = Message::from(vec![1, 2, 3]);
/// assert_eq!(message.as_bytes(), [1, 2, 3]);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub enum Message {
    /// UTF-8 text.
    Text(Utf8Bytes),
    /// Bytes of any kind.
    Binary(Bytes),
}

impl Message {
    /// Makes a text message. Strings, and [`Utf8Bytes`] without a copy.
    pub fn text(text: impl Into<Utf8Bytes>) -> Self {
        Self::Text(text.into())
    }

    /// Makes a binary message. Vectors and [`Bytes`] without a copy.
    pub fn binary(bytes: impl Into<Bytes>) -> Self {
        Self::Binary(bytes.into())
    }

    /// Whether this is a text message.
    pub const fn is_text(&self) -> bool {
        matches!(self, Self::Text(_))
    }

    /// Whether this is a binary message.
    pub const fn is_binary(&self) -> bool {
        matches!(self, Self::Binary(_))
    }

    /// The length of the payload in bytes.
    #[inline]
    pub fn len(&self) -> usize {
        self.as_bytes().len()
    }

    /// Whether the payload is empty.
    pub fn is_empty(&self) -> bool {
        self.as_bytes().is_empty()
    }

    /// The text of a text message.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Binary(_) => None,
        }
    }

    /// The payload of either kind.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }

    /// The payload of either kind, without a copy.
    pub fn into_bytes(self) -> Bytes {
        match self {
            Self::Text(text) => text.into_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }

    /// The payload as a vector; copied if it is shared.
    pub fn into_vec(self) -> Vec<u8> {
        self.into_bytes().into()
    }

    /// The payload as text, without a copy. A binary message is checked.
    ///
    /// # Errors
    ///
    /// [`Utf8Error`] if a binary message is not UTF-8.
    pub fn into_text(self) -> Result<Utf8Bytes, Utf8Error> {
        match self {
            Self::Text(text) => Ok(text),
            Self::Binary(bytes) => Utf8Bytes::try_from(bytes),
        }
    }
}

impl From<&str> for Message {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Message {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<Utf8Bytes> for Message {
    fn from(text: Utf8Bytes) -> Self {
        Self::Text(text)
    }
}

impl From<&[u8]> for Message {
    fn from(bytes: &[u8]) -> Self {
        Self::Binary(Bytes::copy_from_slice(bytes))
    }
}

impl From<Vec<u8>> for Message {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Binary(bytes.into())
    }
}

impl From<Bytes> for Message {
    fn from(bytes: Bytes) -> Self {
        Self::Binary(bytes)
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_text() { "Text" } else { "Binary" };
        write!(f, "{kind}({} bytes)", self.len())
    }
}
