//! Messages to and from JSON, with serde.
//!
//! [`encode`] once and send to many: the message, or the
//! [`PreparedMessage`](crate::PreparedMessage) made of it, is shared. What comes in may be
//! anything, so [`decode`] gives an error that is a value: log it, answer it, go on.
//!
//! # Examples
//!
//! An enum with a tag tells messages apart. A variant with `#[serde(other)]` takes those of a kind
//! that this program does not know yet.
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use wsroom::{Message, json};
//!
//! #[derive(Debug, PartialEq, Deserialize)]
//! #[serde(tag = "type", rename_all = "lowercase")]
//! enum FromClient {
//!     Say { text: String },
//!     Typing,
//!     #[serde(other)]
//!     Unknown,
//! }
//!
//! #[derive(Serialize)]
//! #[serde(tag = "type", rename_all = "lowercase")]
//! enum ToClient<'a> {
//!     Said { from: &'a str, text: &'a str },
//! }
//!
//! let message = Message::from(r#"{"type":"say","text":"hello"}"#);
//! assert_eq!(json::decode(&message), Ok(FromClient::Say { text: "hello".into() }));
//! let message = Message::from(r#"{"type":"dance","style":"tango"}"#);
//! assert_eq!(json::decode(&message), Ok(FromClient::Unknown));
//!
//! let message = json::encode(&ToClient::Said { from: "ann", text: "hello" })?;
//! assert_eq!(message.as_text(), Some(r#"{"type":"said","from":"ann","text":"hello"}"#));
//!
//! let error = json::decode::<FromClient>(&Message::from("{\n oops")).unwrap_err();
//! assert_eq!(error.to_string(), "malformed JSON at line 2 column 2");
//! # Ok::<(), json::JsonError>(())
//! ```

use std::error::Error;
use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use crate::message::Message;

/// JSON was not made, or not understood. It holds no part of the message, and can be logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum JsonError {
    /// The message is binary.
    NotText,
    /// The message is not JSON, or not all of one.
    Syntax {
        /// Counted from 1.
        line: usize,
        /// In bytes, counted from 1; 0 before the first one of a line.
        column: usize,
    },
    /// The message is JSON, but not of the type: a field is missing, or something else than it.
    Mismatch {
        /// Counted from 1.
        line: usize,
        /// In bytes, counted from 1; 0 if the place is not known.
        column: usize,
    },
    /// The value has no form in JSON: its `Serialize` failed, or a key of a map is not a string.
    Encode,
}

/// Encodes a value as a text message.
///
/// # Errors
///
/// [`JsonError::Encode`].
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Message, JsonError> {
    let text = serde_json::to_string(value).map_err(|_| JsonError::Encode)?;
    Ok(Message::text(text))
}

/// Encodes a value as a binary message, for peers that want JSON so.
///
/// # Errors
///
/// [`JsonError::Encode`].
pub fn encode_binary<T: Serialize + ?Sized>(value: &T) -> Result<Message, JsonError> {
    let bytes = serde_json::to_vec(value).map_err(|_| JsonError::Encode)?;
    Ok(Message::binary(bytes))
}

/// Decodes a text message.
///
/// # Errors
///
/// [`JsonError::NotText`], [`JsonError::Syntax`] or [`JsonError::Mismatch`].
pub fn decode<T: DeserializeOwned>(message: &Message) -> Result<T, JsonError> {
    let text = message.as_text().ok_or(JsonError::NotText)?;
    serde_json::from_str(text).map_err(JsonError::from_decoding)
}

/// Decodes a message of either kind, for peers that send JSON as binary too.
///
/// # Errors
///
/// [`JsonError::Syntax`] or [`JsonError::Mismatch`].
pub fn decode_any<T: DeserializeOwned>(message: &Message) -> Result<T, JsonError> {
    serde_json::from_slice(message.as_bytes()).map_err(JsonError::from_decoding)
}

impl JsonError {
    /// The text of serde_json's error may quote the message, so only the place is kept.
    fn from_decoding(error: serde_json::Error) -> Self {
        let (line, column) = (error.line(), error.column());
        match error.classify() {
            Category::Data => Self::Mismatch { line, column },
            Category::Syntax | Category::Eof | Category::Io => Self::Syntax { line, column },
        }
    }
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotText => f.write_str("message is not text"),
            Self::Syntax { line, column } => {
                write!(f, "malformed JSON at line {line} column {column}")
            }
            Self::Mismatch { line, column } => {
                write!(f, "unexpected JSON at line {line} column {column}")
            }
            Self::Encode => f.write_str("value has no form in JSON"),
        }
    }
}

impl Error for JsonError {}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn what_is_encoded_is_decoded() {
        let value = vec![Some("a".to_owned()), None];
        let message = encode(&value).unwrap();
        assert_eq!(message, Message::from(r#"["a",null]"#));
        assert_eq!(decode(&message), Ok(value.clone()));
        let message = encode_binary(&value).unwrap();
        assert_eq!(message, Message::from(&br#"["a",null]"#[..]));
        assert_eq!(decode_any(&message), Ok(value));
    }

    #[test]
    fn a_binary_message_is_not_text() {
        assert_eq!(decode::<u8>(&Message::binary("1")), Err(JsonError::NotText));
        assert_eq!(decode_any::<u8>(&Message::text("1")), Ok(1));
    }

    #[test]
    fn malformed_and_unexpected_json_are_told_apart() {
        let cases = [
            ("", JsonError::Syntax { line: 1, column: 0 }),
            ("[1", JsonError::Syntax { line: 1, column: 2 }),
            ("[1]\n[", JsonError::Syntax { line: 2, column: 1 }),
            ("[\n300]", JsonError::Mismatch { line: 2, column: 3 }),
            ("{}", JsonError::Mismatch { line: 1, column: 0 }),
        ];
        for (text, error) in cases {
            assert_eq!(decode::<Vec<u8>>(&text.into()), Err(error), "{text:?}");
        }
    }

    #[test]
    fn deep_nesting_is_an_error() {
        let deep = Message::text("[".repeat(100_000));
        let error = decode::<serde_json::Value>(&deep).unwrap_err();
        assert!(matches!(error, JsonError::Syntax { .. }), "{error}");
    }

    #[test]
    fn an_error_does_not_quote_the_message() {
        let message = Message::from(r#""secret""#);
        let error = decode::<bool>(&message).unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("secret"), "{shown}");
        assert!(error.source().is_none());
    }

    #[test]
    fn a_value_without_a_form_in_json_is_an_error() {
        let map = HashMap::from([((1, 2), 3)]);
        assert_eq!(encode(&map), Err(JsonError::Encode));
        assert_eq!(encode_binary(&map), Err(JsonError::Encode));
    }
}
