//! Text in pieces is judged as `std` judges it whole, and at the first byte that decides.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use wsroom::{Utf8Bytes, Utf8Validator};
use wsroom_fuzz::Cuts;

fuzz_target!(|input: (Cuts, Cuts, &[u8])| {
    let (cuts, other, text) = input;
    let valid = std::str::from_utf8(text);
    // The length of the shortest piece from the front that nothing can make valid.
    let doomed = valid.err().and_then(|error| {
        (error.valid_up_to()..=text.len()).take(5).find(
            |&len| matches!(std::str::from_utf8(&text[..len]), Err(e) if e.error_len().is_some()),
        )
    });
    for pieces in [cuts.cut(text), other.cut(text), vec![text.to_vec()]] {
        let mut validator = Utf8Validator::default();
        let mut len = 0;
        let mut failed = false;
        for piece in pieces {
            len += piece.len();
            failed = validator.receive(&piece).is_err();
            assert_eq!(
                failed,
                doomed.is_some_and(|doomed| len >= doomed),
                "at {len}"
            );
            if failed {
                break;
            }
        }
        assert_eq!(!failed && validator.finish().is_ok(), valid.is_ok());
    }
    let shared = Utf8Bytes::try_from(Bytes::copy_from_slice(text));
    assert_eq!(shared.as_deref().ok(), valid.ok());
});
