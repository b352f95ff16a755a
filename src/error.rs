//! The ways in which a peer can break the protocol, and how each is answered.

use std::error::Error;
use std::fmt;

use crate::close::CloseCode;

/// A rule of RFC 6455 or a limit of ours that the peer broke.
///
/// It is final: the connection has failed (§7.1.7), and the Close frame that reports it, with
/// [`close_code`](Self::close_code), is already in the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProtocolError {
    /// §5.2: RSV1, RSV2 or RSV3 is set, and no extension gave it a meaning.
    ReservedBits,
    /// §5.2: an opcode of 3 to 7 or 11 to 15.
    ReservedOpCode,
    /// §5.5: a control frame without FIN.
    FragmentedControlFrame,
    /// §5.4: a continuation frame, and no message was begun.
    UnexpectedContinuation,
    /// §5.4: a text or binary frame inside an unfinished message.
    ExpectedContinuation,
    /// §5.1: a client sent a frame that is not masked.
    UnmaskedByClient,
    /// §5.1: a server sent a masked frame.
    MaskedByServer,
    /// §5.5: a control frame with a payload of more than 125 bytes.
    ControlFrameTooLong,
    /// §5.2: the length was not in its shortest form.
    LengthNotMinimal,
    /// §5.2: the highest bit of a 64-bit length is set.
    LengthOverflow,
    /// §10.4: a frame is longer than the limit.
    FrameTooLarge,
    /// §10.4: a message is longer than the limit.
    MessageTooLarge,
    /// §10.4: a message has more fragments than the limit.
    TooManyFragments,
    /// §8.1: a text message that is not UTF-8.
    InvalidUtf8,
    /// RFC 7692 §7.2.2: a compressed message that is not DEFLATE, is cut short, or refers to more
    /// than the window that was agreed on.
    InvalidDeflate,
    /// §5.5.1: a Close frame with a body of one byte.
    CloseBodyTooShort,
    /// §7.4: a Close frame with a code that must not be sent.
    InvalidCloseCode(CloseCode),
    /// §5.5.1: a close reason that is not UTF-8.
    InvalidCloseReason,
}

impl ProtocolError {
    /// The code of the Close frame that answers this fault (§7.4.1).
    pub const fn close_code(self) -> CloseCode {
        match self {
            Self::ReservedBits
            | Self::ReservedOpCode
            | Self::FragmentedControlFrame
            | Self::UnexpectedContinuation
            | Self::ExpectedContinuation
            | Self::UnmaskedByClient
            | Self::MaskedByServer
            | Self::ControlFrameTooLong
            | Self::LengthNotMinimal
            | Self::LengthOverflow
            | Self::CloseBodyTooShort
            | Self::InvalidCloseCode(_) => CloseCode::PROTOCOL_ERROR,
            Self::InvalidUtf8 | Self::InvalidDeflate | Self::InvalidCloseReason => {
                CloseCode::INVALID_DATA
            }
            Self::TooManyFragments => CloseCode::POLICY_VIOLATION,
            Self::FrameTooLarge | Self::MessageTooLarge => CloseCode::MESSAGE_TOO_BIG,
        }
    }

    /// The clause that [`Display`](fmt::Display) gives, except for a number in it. It is also the
    /// reason in the Close frame.
    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Self::ReservedBits => "reserved bits are set",
            Self::ReservedOpCode => "opcode is reserved",
            Self::FragmentedControlFrame => "control frame is fragmented",
            Self::UnexpectedContinuation => "continuation without a message",
            Self::ExpectedContinuation => "new message inside an unfinished one",
            Self::UnmaskedByClient => "frame of a client is not masked",
            Self::MaskedByServer => "frame of a server is masked",
            Self::ControlFrameTooLong => "control frame is longer than 125 bytes",
            Self::LengthNotMinimal => "length is not in its shortest form",
            Self::LengthOverflow => "length has its highest bit set",
            Self::FrameTooLarge => "frame is too large",
            Self::MessageTooLarge => "message is too large",
            Self::TooManyFragments => "message has too many fragments",
            Self::InvalidUtf8 => "text is not valid UTF-8",
            Self::InvalidDeflate => "compressed data is not valid",
            Self::CloseBodyTooShort => "close body has one byte",
            Self::InvalidCloseCode(_) => "close code must not be sent",
            Self::InvalidCloseReason => "close reason is not valid UTF-8",
        }
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidCloseCode(code) => write!(f, "close code {} must not be sent", code.get()),
            _ => f.write_str(self.reason()),
        }
    }
}

impl Error for ProtocolError {}
