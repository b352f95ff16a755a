//! Close codes and the body of a Close frame (§5.5.1, §7.4).

use std::fmt;

use crate::utf8::Utf8Bytes;

/// The status code of a Close frame (§7.4).
///
/// Any number can be held, since a log may want to show what came. Which ones may travel is
/// [`is_sendable`](Self::is_sendable).
///
/// # Examples
///
/// ```
/// use wsroom::CloseCode;
///
/// assert!(CloseCode::NORMAL.is_sendable());
/// assert!(CloseCode::new(4000).is_sendable());
/// assert!(!CloseCode::NO_STATUS.is_sendable());
/// assert_eq!(CloseCode::GOING_AWAY.to_string(), "1001 going away");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// 1000: the purpose of the connection is fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// 1001: a server shuts down, or a page is left.
    pub const GOING_AWAY: Self = Self(1001);
    /// 1002: the peer broke the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// 1003: a kind of data that the endpoint cannot accept.
    pub const UNSUPPORTED_DATA: Self = Self(1003);
    /// 1005: the Close had no status. Never sent (§7.4.1).
    pub const NO_STATUS: Self = Self(1005);
    /// 1006: the connection ended without a Close. Never sent (§7.4.1).
    pub const ABNORMAL: Self = Self(1006);
    /// 1007: data that is not of its type, such as text that is no UTF-8.
    pub const INVALID_DATA: Self = Self(1007);
    /// 1008: a message broke the endpoint's policy.
    pub const POLICY_VIOLATION: Self = Self(1008);
    /// 1009: a message is too big to process.
    pub const MESSAGE_TOO_BIG: Self = Self(1009);
    /// 1010: a client misses an extension. Sent by clients only.
    pub const EXTENSION_REQUIRED: Self = Self(1010);
    /// 1011: the endpoint met a condition it did not expect.
    pub const INTERNAL_ERROR: Self = Self(1011);
    /// 1012: the service restarts (IANA registry).
    pub const SERVICE_RESTART: Self = Self(1012);
    /// 1013: try again later; also what a member that is too slow gets (IANA registry).
    pub const TRY_AGAIN_LATER: Self = Self(1013);
    /// 1014: a gateway got an invalid answer (IANA registry).
    pub const BAD_GATEWAY: Self = Self(1014);
    /// 1015: TLS failed. Never sent (§7.4.1).
    pub const TLS_HANDSHAKE: Self = Self(1015);

    /// Wraps a number. Applications have 4000 to 4999 for themselves (§7.4.2).
    pub const fn new(code: u16) -> Self {
        Self(code)
    }

    /// The number.
    pub const fn get(self) -> u16 {
        self.0
    }

    /// Whether the code may stand in a Close frame: 1000 to 1003, 1007 to 1014, 3000 to 4999.
    ///
    /// 1010 may be sent by clients only, which this does not look at.
    pub const fn is_sendable(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }

    fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::NORMAL => "normal",
            Self::GOING_AWAY => "going away",
            Self::PROTOCOL_ERROR => "protocol error",
            Self::UNSUPPORTED_DATA => "unsupported data",
            Self::NO_STATUS => "no status",
            Self::ABNORMAL => "abnormal",
            Self::INVALID_DATA => "invalid data",
            Self::POLICY_VIOLATION => "policy violation",
            Self::MESSAGE_TOO_BIG => "message too big",
            Self::EXTENSION_REQUIRED => "extension required",
            Self::INTERNAL_ERROR => "internal error",
            Self::SERVICE_RESTART => "service restart",
            Self::TRY_AGAIN_LATER => "try again later",
            Self::BAD_GATEWAY => "bad gateway",
            Self::TLS_HANDSHAKE => "tls handshake",
            _ => return None,
        })
    }
}

impl From<u16> for CloseCode {
    fn from(code: u16) -> Self {
        Self(code)
    }
}

impl From<CloseCode> for u16 {
    fn from(code: CloseCode) -> Self {
        code.0
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{} {name}", self.0),
            None => write!(f, "{}", self.0),
        }
    }
}

impl fmt::Debug for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CloseCode({self})")
    }
}

/// What a Close frame says: a code and a reason (§5.5.1).
///
/// A Close without a body is one with [`CloseCode::NO_STATUS`] and no reason when it is received
/// (§7.1.5), and `None` when it is sent.
///
/// # Examples
///
/// ```
/// use wsroom::{CloseCode, CloseFrame};
///
/// let frame = CloseFrame::new(CloseCode::GOING_AWAY, "see you");
/// assert_eq!(frame.to_string(), r#"1001 going away "see you""#);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseFrame {
    /// Why the connection closes.
    pub code: CloseCode,
    /// The same in words, at most 123 bytes. It comes from the peer: escape it before it is shown.
    pub reason: Utf8Bytes,
}

impl CloseFrame {
    /// The longest reason in bytes: a control frame holds 125, two of them are the code.
    pub const MAX_REASON: usize = 123;

    /// Makes a close frame. Whether it can be sent is checked where it is sent.
    pub fn new(code: CloseCode, reason: impl Into<Utf8Bytes>) -> Self {
        Self {
            code,
            reason: reason.into(),
        }
    }
}

impl From<CloseCode> for CloseFrame {
    fn from(code: CloseCode) -> Self {
        Self::new(code, Utf8Bytes::default())
    }
}

/// So that a code alone can be given to the functions that close.
impl From<CloseCode> for Option<CloseFrame> {
    fn from(code: CloseCode) -> Self {
        Some(code.into())
    }
}

/// The code, then the reason escaped and in quotes if there is one.
impl fmt::Display for CloseFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if !self.reason.is_empty() {
            write!(f, " {:?}", self.reason.as_str())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// C3.
    #[test]
    fn every_code_is_sendable_or_not_as_section_7_4_and_the_registry_say() {
        let sendable: Vec<u16> = (0..=u16::MAX)
            .filter(|&code| CloseCode::new(code).is_sendable())
            .collect();
        let expected: Vec<u16> = [1000, 1001, 1002, 1003]
            .into_iter()
            .chain(1007..=1014)
            .chain(3000..=4999)
            .collect();
        assert_eq!(sendable, expected);
    }

    /// C12.
    #[test]
    fn a_reason_is_escaped_when_it_is_displayed() {
        let frame = CloseFrame::new(CloseCode::new(4001), "a\r\n\u{1b}b");
        assert_eq!(frame.to_string(), r#"4001 "a\r\n\u{1b}b""#);
    }
}
