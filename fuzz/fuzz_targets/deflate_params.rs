//! What a server of ours answers to a list of extensions is an answer to one offer in it: a client
//! of ours that makes this offer verifies it, and to the same agreement.
#![no_main]

use http::HeaderValue;
use http::header::SEC_WEBSOCKET_EXTENSIONS;
use libfuzzer_sys::fuzz_target;
use wsroom::Upgrade;
use wsroom::deflate::Deflate;
use wsroom::handshake::{HandshakeError, Offer, extension_offers};
use wsroom_fuzz::head::{deflate, deflate_of};

fuzz_target!(|input: ([u8; 3], &[u8])| {
    let (settings, list) = input;
    let Ok(list) = HeaderValue::from_bytes(list) else {
        return;
    };
    let mut request = offer(Deflate::default()).request().clone();
    request.headers_mut().insert(SEC_WEBSOCKET_EXTENSIONS, list);
    let server = Upgrade::default().deflate(deflate(settings));
    let can_be_had = settings[1..].iter().all(|bits| (9..=15).contains(bits));
    let (response, agreed) = match server.accept(&request) {
        Ok(accepted) => accepted,
        Err(HandshakeError::WindowBits) => return assert!(!can_be_had),
        Err(_) => return assert!(extension_offers(request.headers()).is_err()),
    };
    assert!(can_be_had);
    let answer = response.headers().get(SEC_WEBSOCKET_EXTENSIONS);
    assert_eq!(answer.is_some(), agreed.deflate().is_some());
    // A client of ours has no window of 2^8 bytes to offer.
    let window = agreed.deflate().map(|own| own.client_max_window_bits);
    if window.is_some_and(|bits| bits > 8) {
        let offers = extension_offers(request.headers()).expect("the server read them");
        let mut clients = offers.iter().filter_map(deflate_of).map(offer);
        assert!(clients.any(|client| client.verify(&response).is_ok_and(|own| own == agreed)));
    }
});

fn offer(deflate: Deflate) -> Offer {
    let upgrade = Upgrade::default().deflate(deflate);
    let offer = upgrade.offer_with_nonce("ws://a.example/", *b"the sample nonce");
    offer.expect("the URL is legal")
}
