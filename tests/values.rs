//! Values: what they turn into, and how they are shown. No payload is, and no error quotes the peer.

use std::borrow::{Borrow, Cow};
use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use wsroom::frame::OpCode;
use wsroom::handshake::HandshakeError;
use wsroom::limits::Bound;
use wsroom::protocol::{Fragment, Payload, Text};
use wsroom::{
    CloseCause, CloseCode, CloseFrame, CloseInfo, Config, Message, PreparedMessage, ProtocolError,
    SendError, Utf8Bytes, Utf8Error,
};

#[test]
fn a_message_is_text_or_binary_and_gives_its_payload_as_either() {
    let text = Message::text("é");
    assert!(text.is_text() && !text.is_binary());
    assert_eq!(text.as_text(), Some("é"));
    assert_eq!(text.clone().into_text(), Ok(Utf8Bytes::from("é")));
    assert_eq!(text.clone().into_vec(), "é".as_bytes());
    assert_eq!(text.clone().into_bytes(), "é".as_bytes());
    for same in [
        Message::from("é"),
        Message::from(String::from("é")),
        Message::from(Utf8Bytes::from("é")),
        Message::from(Text::Borrowed("é")),
        Message::from(Text::Owned("é".into())),
    ] {
        assert_eq!(same, text);
    }

    let binary = Message::binary(vec![0xff]);
    assert!(binary.is_binary() && !binary.is_text());
    assert_eq!(binary.as_text(), None);
    assert_eq!(binary.clone().into_text(), Err(Utf8Error));
    assert_eq!(binary.as_bytes(), b"\xff");
    for same in [
        Message::from(vec![0xff]),
        Message::from(&[0xff][..]),
        Message::from(Bytes::from_static(b"\xff")),
        Message::from(Payload::Borrowed(b"\xff")),
        Message::from(Payload::Owned(Bytes::from_static(b"\xff"))),
    ] {
        assert_eq!(same, binary);
    }

    let valid = Message::binary("é");
    assert_ne!(valid, text, "the kind is part of it");
    assert_eq!(valid.into_text(), Ok(Utf8Bytes::from("é")));
    assert_eq!((text.len(), text.is_empty()), (2, false));
    assert!(Message::text("").is_empty());
}

#[test]
fn shared_text_is_made_of_any_text_and_stands_for_it() {
    let text = Utf8Bytes::from("b");
    for same in [
        Utf8Bytes::from_static("b"),
        Utf8Bytes::from(String::from("b")),
        Utf8Bytes::from(&String::from("b")),
        Utf8Bytes::from(Cow::Borrowed("b")),
        Utf8Bytes::from(Box::<str>::from("b")),
        Utf8Bytes::try_from(Bytes::from_static(b"b")).unwrap(),
    ] {
        assert_eq!(same, text);
    }
    assert!(text == *"b" && text == "b");
    assert!(text > *"a" && text < *"c");
    assert_eq!(String::from(text.clone()), "b");
    assert_eq!(Bytes::from(text.clone()), "b");
    assert_eq!(AsRef::<str>::as_ref(&text), "b");
    assert_eq!(AsRef::<[u8]>::as_ref(&text), b"b");
    assert_eq!(Borrow::<str>::borrow(&text), "b");
    assert_eq!(HashMap::from([(text.clone(), 1)]).get("b"), Some(&1));
    assert_eq!(format!("{text:>3} {text:?}"), "  b \"b\"");
}

#[test]
fn a_close_code_is_a_number() {
    assert_eq!(CloseCode::from(4000), CloseCode::new(4000));
    assert_eq!(u16::from(CloseCode::NORMAL), 1000);
    let named = [
        1000, 1001, 1002, 1003, 1005, 1006, 1007, 1008, 1009, 1010, 1011, 1012, 1013,
    ];
    let shown: HashSet<_> = named
        .into_iter()
        .chain([1014, 1015])
        .map(|code| {
            let shown = CloseCode::new(code).to_string();
            let name = shown.strip_prefix(&format!("{code} "));
            name.expect("a registered code has a name").to_owned()
        })
        .collect();
    assert_eq!(shown.len(), 15);
    assert_eq!(CloseCode::new(4000).to_string(), "4000");
    let alone: Option<CloseFrame> = CloseCode::GOING_AWAY.into();
    assert_eq!(alone, Some(CloseFrame::new(CloseCode::GOING_AWAY, "")));
}

#[test]
fn limits_are_those_that_were_set() {
    let config = Config::default()
        .write_mark(7)
        .pong_timeout(Duration::from_secs(8));
    let limits = config.in_force();
    assert_eq!(limits.get("write_mark"), Some(Bound::Bytes(7)));
    let timeout = Bound::Time(Duration::from_secs(8));
    assert_eq!(limits.get("pong_timeout"), Some(timeout));
    let level = |level| Config::default().compression_level(level);
    assert_eq!([level(0), level(10)], [level(1), level(9)]);
    assert_ne!(level(1), level(2));
}

/// A log may show any of them.
#[test]
fn debug_shows_the_kind_and_length_of_a_payload_and_none_of_it() {
    let prepared = PreparedMessage::from(Message::text("secret"));
    assert!(prepared.is_text() && !prepared.is_empty());
    let fragment = Fragment {
        opcode: OpCode::Text,
        fin: true,
        payload: Bytes::from_static(b"secret"),
    };
    assert_eq!(fragment, fragment.clone());
    for shown in [
        format!("{:?}", Message::text("secret")),
        format!("{:?}", Message::binary("secret")),
        format!("{:?}", PreparedMessage::from(&prepared)),
        format!("{fragment:?}"),
        format!("{:?}", Payload::Borrowed(b"secret")),
        format!("{:?}", Text::Owned("secret".into())),
    ] {
        assert!(shown.contains('6') && !shown.contains("secret"), "{shown}");
    }
}

#[test]
fn how_a_connection_ended_is_shown_in_one_line() {
    let info = |cause, sent, received| CloseInfo {
        cause,
        sent,
        received,
    };
    let normal = || Some(CloseFrame::from(CloseCode::NORMAL));
    let bye = Some(CloseFrame::new(CloseCode::new(4000), "bye\n"));
    for (info, shown) in [
        (
            info(CloseCause::Local, normal(), bye),
            "closed by this side, sent 1000 normal, received 4000 \"bye\\n\"",
        ),
        (
            info(CloseCause::Remote, None, normal()),
            "closed by the peer, received 1000 normal",
        ),
        (
            info(
                CloseCause::Protocol(ProtocolError::ReservedBits),
                None,
                None,
            ),
            "failed: reserved bits are set",
        ),
        (
            info(CloseCause::PongTimeout, None, None),
            "failed: ping was not answered in time",
        ),
        (
            info(CloseCause::IdleTimeout, None, None),
            "failed: peer was silent for too long",
        ),
        (
            info(CloseCause::ConnectionLost, None, None),
            "connection lost without a close",
        ),
    ] {
        assert_eq!(info.to_string(), shown);
    }
}

#[test]
fn each_error_is_a_clause_of_its_own() {
    use ProtocolError as P;
    assert_clauses(&[
        P::ReservedBits,
        P::ReservedOpCode,
        P::FragmentedControlFrame,
        P::UnexpectedContinuation,
        P::ExpectedContinuation,
        P::UnmaskedByClient,
        P::MaskedByServer,
        P::ControlFrameTooLong,
        P::LengthNotMinimal,
        P::LengthOverflow,
        P::FrameTooLarge,
        P::MessageTooLarge,
        P::TooManyFragments,
        P::InvalidUtf8,
        P::InvalidDeflate,
        P::CloseBodyTooShort,
        P::InvalidCloseCode(CloseCode::new(999)),
        P::InvalidCloseReason,
    ]);
    let wrong_code = P::InvalidCloseCode(CloseCode::new(999));
    assert_eq!(wrong_code.to_string(), "close code 999 must not be sent");

    use SendError as S;
    assert_clauses(&[
        S::Closed,
        S::MessageInProgress,
        S::NoMessageInProgress,
        S::ControlFragment,
        S::InvalidUtf8,
        S::ControlFrameTooLong,
        S::InvalidCloseCode,
        S::CloseReasonTooLong,
    ]);
    assert_clauses(&[Utf8Error]);
}

/// The statuses of what only a client meets are those that a gateway would give (RFC 9110 §15.6).
#[test]
fn each_error_of_a_handshake_is_a_clause_of_its_own_with_a_status() {
    use HandshakeError as E;
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = http::StatusCode::NOT_FOUND;
    let refused = E::Refused(Box::new(response));
    assert!(refused.to_string().ends_with("with status 404"));
    let by_request = [
        E::Tls,
        E::NotHttp,
        E::StartLine,
        E::HttpVersion,
        E::LineEnd,
        E::FieldName,
        E::SpaceBeforeColon,
        E::FieldValue,
        E::FoldedLine,
        E::RequestLineTooLong,
        E::LineTooLong,
        E::HeadTooLarge,
        E::TooManyHeaders,
        E::Truncated,
        E::TimedOut,
        E::Method,
        E::Target,
        E::MissingHost,
        E::RepeatedHost,
        E::HostSyntax,
        E::RequestBody,
        E::UpgradeSyntax,
        E::ConnectionSyntax,
        E::MissingUpgrade,
        E::MissingConnection,
        E::MissingVersion,
        E::RepeatedVersion,
        E::VersionSyntax,
        E::UnsupportedVersion,
        E::MissingKey,
        E::RepeatedKey,
        E::KeySyntax,
        E::RepeatedOrigin,
        E::OriginNotAllowed,
        E::ProtocolSyntax,
        E::RepeatedProtocol,
        E::TooManyProtocols,
        E::ExtensionSyntax,
        E::TooManyExtensions,
    ];
    let by_response = [
        refused,
        E::TooManyInterimResponses,
        E::WrongUpgrade,
        E::WrongConnection,
        E::WrongAccept,
        E::WrongExtension,
        E::WrongDeflate,
        E::WrongProtocol,
    ];
    let own = [
        E::NotUpgradable,
        E::UrlSyntax,
        E::UrlScheme,
        E::UrlFragment,
        E::UrlUserinfo,
        E::UrlHost,
        E::UrlPort,
        E::HeaderName,
        E::HeaderValue,
        E::ReservedHeader,
        E::ProtocolName,
        E::WindowBits,
    ];
    for error in &by_request {
        let status = error.status();
        let is_theirs = status.is_client_error() || matches!(error, E::HttpVersion);
        assert!(is_theirs, "{error}: {status}");
    }
    assert!(by_response.iter().all(|error| error.status() == 502));
    assert!(own.iter().all(|error| error.status() == 500));
    assert_clauses(&[&by_request[..], &by_response, &own].concat());
}

/// One line without a full stop, and no two alike.
fn assert_clauses<E: Display>(errors: &[E]) {
    let shown: HashSet<_> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(shown.len(), errors.len());
    for clause in shown {
        assert!(!clause.is_empty() && !clause.ends_with('.'), "{clause}");
        assert!(!clause.contains('\n'), "{clause}");
    }
}
