//! Laws of the leaves: masking, UTF-8, close codes, headers.

use proptest::prelude::*;
use proptest::sample::Index;
use wsroom::frame::{FrameHeader, MaskKey, OpCode};
use wsroom::{CloseCode, CloseFrame, Utf8Bytes, Utf8Validator};

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 1000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// M1, §5.3: at every length, offset and alignment, and nothing beside it is touched.
    #[test]
    fn masking_equals_the_naive_loop(
        key in any::<[u8; 4]>(),
        bytes in prop::collection::vec(any::<u8>(), 0..1000),
        range in any::<[Index; 2]>(),
    ) {
        let (start, end) = ordered(range, bytes.len());
        let mut expected = bytes.clone();
        for (i, byte) in expected[start..end].iter_mut().enumerate() {
            *byte ^= key[i % 4];
        }
        let mut masked = bytes.clone();
        MaskKey::new(key).apply(&mut masked[start..end]);
        prop_assert_eq!(&masked, &expected);
        MaskKey::new(key).apply(&mut masked[start..end]);
        prop_assert_eq!(&masked, &bytes, "twice is the identity");
    }

    /// M1, §5.3: a payload in pieces.
    #[test]
    fn masking_in_pieces_equals_masking_at_once(
        key in any::<[u8; 4]>(),
        mut bytes in prop::collection::vec(any::<u8>(), 0..600),
        range in any::<[Index; 2]>(),
    ) {
        let key = MaskKey::new(key);
        let mut whole = bytes.clone();
        key.apply(&mut whole);
        let (first, second) = ordered(range, bytes.len());
        key.apply(&mut bytes[..first]);
        key.after(first).apply(&mut bytes[first..second]);
        key.after(first).after(second - first).apply(&mut bytes[second..]);
        prop_assert_eq!(bytes, whole);
    }

    /// T1 to T4, §8.1: in pieces as at once, and not a byte later than certain.
    #[test]
    fn streaming_utf8_equals_std_and_fails_at_the_earliest_byte(
        bytes in almost_text(),
        cuts in any::<[Index; 2]>(),
    ) {
        let expected = std::str::from_utf8(&bytes);
        let certain = (1..=bytes.len()).find(|&len| {
            std::str::from_utf8(&bytes[..len]).is_err_and(|error| error.error_len().is_some())
        });

        let mut validator = Utf8Validator::default();
        let failed = (0..bytes.len()).find(|&i| validator.receive(&bytes[i..=i]).is_err());
        prop_assert_eq!(failed.map(|i| i + 1), certain);
        if certain.is_none() {
            prop_assert_eq!(validator.finish().is_ok(), expected.is_ok());
        }

        let (first, second) = ordered(cuts, bytes.len());
        let mut validator = Utf8Validator::default();
        let ends = [first, second, bytes.len()];
        let pieces = [&bytes[..first], &bytes[first..second], &bytes[second..]];
        let failed = pieces.iter().position(|piece| validator.receive(piece).is_err());
        let in_which = certain.and_then(|len| ends.iter().position(|&end| len <= end));
        prop_assert_eq!(failed, in_which);
        if certain.is_none() {
            prop_assert_eq!(validator.finish().is_ok(), expected.is_ok());
        }
    }

    #[test]
    fn shared_text_is_what_std_takes_for_text(bytes in almost_text()) {
        let shared = Utf8Bytes::try_from(bytes::Bytes::from(bytes.clone()));
        match std::str::from_utf8(&bytes) {
            Ok(text) => prop_assert_eq!(shared.unwrap(), text),
            Err(_) => prop_assert!(shared.is_err()),
        }
    }

    /// C12: a reason that is shown has no character that moves a cursor or ends a line.
    #[test]
    fn a_close_frame_is_shown_on_one_line(code in any::<u16>(), reason in any::<String>()) {
        let shown = CloseFrame::new(CloseCode::new(code), reason.as_str()).to_string();
        prop_assert!(!shown.chars().any(char::is_control));
        prop_assert!(shown.starts_with(&code.to_string()));
    }

    /// F5, §5.2: what is encoded is parsed as it was, and is incomplete without its last byte.
    #[test]
    fn parsing_undoes_encoding(header in header(), rest in prop::collection::vec(any::<u8>(), 0..9)) {
        let encoded = header.encode();
        let len = encoded.as_slice().len();
        let wire = [encoded.as_slice(), &rest[..]].concat();
        prop_assert_eq!(FrameHeader::parse(&wire), Ok(Some((header, len))));
        for end in 0..len {
            prop_assert_eq!(FrameHeader::parse(&wire[..end]), Ok(None));
        }
    }

    /// F6, §5.2: a header that parses is the one that would be encoded, so there is only one form.
    #[test]
    fn encoding_undoes_parsing(bytes in prop::collection::vec(any::<u8>(), 0..16)) {
        if let Ok(Some((header, len))) = FrameHeader::parse(&bytes) {
            let encoded = header.encode();
            prop_assert_eq!(encoded.as_slice(), &bytes[..len]);
        }
    }

    /// F10: more bytes do not take a fault back, and do not change it.
    #[test]
    fn a_fault_in_a_header_stays(bytes in prop::collection::vec(any::<u8>(), 0..16)) {
        let parsed = (0..=bytes.len()).map(|len| FrameHeader::parse(&bytes[..len]));
        let mut first = None;
        for result in parsed {
            match first {
                None => first = (result != Ok(None)).then_some(result),
                Some(first) => prop_assert_eq!(result, first),
            }
        }
    }
}

fn ordered(range: [Index; 2], len: usize) -> (usize, usize) {
    let [a, b] = range.map(|index| index.index(len + 1));
    (a.min(b), a.max(b))
}

/// Text with at most a few bytes broken, so that faults lie deep.
fn almost_text() -> impl Strategy<Value = Vec<u8>> {
    let text = prop_oneof![".{0,40}", "[aé€😀\u{ffff}]{0,80}"];
    let breaks = prop::collection::vec((any::<Index>(), any::<u8>()), 0..3);
    (text, breaks, 0..4_usize).prop_map(|(text, breaks, cut)| {
        let mut bytes = text.into_bytes();
        for (at, byte) in breaks {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        bytes.truncate(bytes.len().saturating_sub(cut));
        bytes
    })
}

fn header() -> impl Strategy<Value = FrameHeader> {
    use OpCode::{Binary, Close, Continuation, Ping, Pong, Text};
    let len = prop_oneof![
        0..=130_u64,
        65_500..=65_600_u64,
        0..=u64::MAX >> 1,
        Just(u64::MAX >> 1)
    ];
    let data = (
        any::<bool>(),
        prop::sample::select(vec![Continuation, Text, Binary]),
        len,
    );
    let control = (
        Just(true),
        prop::sample::select(vec![Close, Ping, Pong]),
        0..=125_u64,
    );
    (
        prop_oneof![data, control],
        any::<bool>(),
        any::<Option<[u8; 4]>>(),
    )
        .prop_map(|((fin, opcode, payload_len), rsv1, key)| FrameHeader {
            fin,
            rsv1,
            opcode,
            mask: key.map(MaskKey::new),
            payload_len,
        })
}
