//! A response is read alike however it is cut, and so is the content of a refusal; what is
//! verified has the accept value of the key.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wsroom::handshake::{HandshakeError, ResponseHead};
use wsroom_fuzz::{Cuts, head};

fuzz_target!(|input: (Cuts, &[u8])| {
    let (cuts, bytes) = input;
    let upgrade = head::upgrade().max_error_body_size(100);
    let (response, taken) = head::read(|| ResponseHead::new(&upgrade), bytes, cuts);
    // Ten interim responses at most, each within the limits, and the final one.
    assert!(taken <= 11 * 1000, "more than max_head_size is held");
    let Ok(Some(response)) = response else { return };
    let offer = upgrade.offer_with_nonce("ws://a.example/", *b"the sample nonce");
    match offer.expect("the URL is legal").verify(&response) {
        Ok(agreed) => {
            assert_eq!(response.status(), 101);
            let headers = response.headers();
            assert_eq!(
                headers["sec-websocket-accept"],
                "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
            );
            let chosen = headers.get("sec-websocket-protocol");
            let agreed = agreed.protocol().map(str::as_bytes);
            assert_eq!(chosen.map(|name| name.as_bytes()), agreed);
        }
        Err(HandshakeError::Refused(_)) => {
            let rest = &bytes[taken..];
            let whole = head::refusal(&upgrade, response.clone(), &[rest.to_vec()]);
            assert_eq!(whole, head::refusal(&upgrade, response, &cuts.cut(rest)));
            assert!(
                whole.1.len() <= 100,
                "more than max_error_body_size is held"
            );
        }
        Err(_) => assert_eq!(response.status(), 101),
    }
});
