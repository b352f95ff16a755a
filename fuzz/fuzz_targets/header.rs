//! A header that is parsed is the one that is encoded, and a fault is known at one byte.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wsroom::frame::FrameHeader;

fuzz_target!(|bytes: &[u8]| {
    let parsed = FrameHeader::parse(bytes);
    match parsed {
        Ok(Some((header, len))) => {
            assert_eq!(header.encode().as_slice(), &bytes[..len], "the only form");
            for end in 0..len {
                assert_eq!(FrameHeader::parse(&bytes[..end]), Ok(None), "cut at {end}");
            }
            assert_eq!(
                FrameHeader::parse(&bytes[..len]),
                parsed,
                "nothing behind is read"
            );
            assert!(!header.opcode.is_control() || header.fin && header.payload_len <= 125);
        }
        Ok(None) => assert!(bytes.len() < FrameHeader::MAX_LEN),
        Err(error) => {
            let known = (0..=bytes.len())
                .find(|&end| FrameHeader::parse(&bytes[..end]).is_err())
                .expect("the whole is an error");
            assert!(known <= 10, "a fault lies before the mask key");
            for end in 0..=bytes.len() {
                let expected = if end < known { Ok(None) } else { Err(error) };
                assert_eq!(FrameHeader::parse(&bytes[..end]), expected, "cut at {end}");
            }
        }
    }
});
