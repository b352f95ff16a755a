//! A request is read alike however it is cut; the answer to one that is accepted is the answer
//! that its client accepts, and any other answer is a legal head too.
#![no_main]

use base64::{Engine, engine::general_purpose::STANDARD};
use libfuzzer_sys::fuzz_target;
use wsroom::Upgrade;
use wsroom::handshake::{RequestHead, ResponseHead, encode_accepted, encode_response};
use wsroom_fuzz::{Cuts, head};

fuzz_target!(|input: (Cuts, &[u8])| {
    let (cuts, bytes) = input;
    let upgrade = head::upgrade();
    let (request, taken) = head::read(|| RequestHead::new(&upgrade), bytes, cuts);
    assert!(taken <= 1000, "more than max_head_size is held");
    let accepted = match request {
        Ok(None) => return,
        Ok(Some(request)) => upgrade.accept(&request).map(|answer| (request, answer)),
        Err(error) => Err(error),
    };
    let answer = match &accepted {
        Ok((request, (response, _))) => encode_accepted(request, response),
        Err(error) => encode_response(&error.response()),
    };
    let (answer, _) = head::read(|| ResponseHead::new(&Upgrade::default()), &answer, cuts);
    let answer = answer.expect("it is legal").expect("it is whole");
    let Ok((request, (_, agreed))) = accepted else {
        return assert!(answer.status().as_u16() >= 400);
    };
    let key = request.headers()["sec-websocket-key"].as_bytes();
    // A key with spare bits set is no encoding of a nonce, and no offer of ours has it.
    if let Ok(nonce) = STANDARD.decode(key).unwrap_or_default().try_into() {
        let offer = upgrade.offer_with_nonce("ws://a.example/", nonce);
        let verified = offer.expect("the URL is legal").verify(&answer);
        assert_eq!(verified.expect("it answers this key"), agreed);
    }
});
