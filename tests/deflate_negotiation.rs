//! RFC 7692 §5 and §7.1: what a server answers, a client takes, and both agree on the same.
#![cfg(feature = "deflate")]

use bytes::Buf;
use http::Response;
use proptest::prelude::*;
use wsroom::deflate::{Deflate, DeflateParams};
use wsroom::{Agreed, Config, Connection, HandshakeError, Role, Upgrade};

const EXTENSIONS: &str = "sec-websocket-extensions";

/// What an application may set on one side.
#[derive(Clone, Copy, Debug)]
struct Wish {
    server_alone: bool,
    client_alone: bool,
    server_bits: u8,
    client_bits: u8,
    full_client_window: bool,
}

impl Wish {
    fn deflate(self) -> Deflate {
        let mut deflate = Deflate::default()
            .server_max_window_bits(self.server_bits)
            .client_max_window_bits(self.client_bits);
        if self.server_alone {
            deflate = deflate.server_no_context_takeover();
        }
        if self.client_alone {
            deflate = deflate.client_no_context_takeover();
        }
        if self.full_client_window {
            deflate = deflate.full_client_window();
        }
        deflate
    }
}

fn wish() -> impl Strategy<Value = Wish> {
    (any::<[bool; 3]>(), 9..=15_u8, 9..=15_u8).prop_map(|(flags, server_bits, client_bits)| Wish {
        server_alone: flags[0],
        client_alone: flags[1],
        server_bits,
        client_bits,
        full_client_window: flags[2],
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_sides_agree_on_what_both_can_do(client in wish(), fallback in wish(), server in wish()) {
        let ours = Upgrade::default().deflate(client.deflate().or(fallback.deflate()));
        let theirs = Upgrade::default().deflate(server.deflate());
        let offer = ours.offer("ws://server.example.com/").unwrap();
        let (response, agreed) = theirs.accept(offer.request()).unwrap();
        prop_assert_eq!(&offer.verify(&response).unwrap(), &agreed);

        // Nothing in the first offer needs to be declined, so it decides.
        let params = agreed.deflate().unwrap();
        prop_assert_eq!(params.server_max_window_bits, client.server_bits.min(server.server_bits));
        prop_assert_eq!(
            params.client_max_window_bits,
            if client.full_client_window { 15 } else { client.client_bits.min(server.client_bits) }
        );
        prop_assert_eq!(
            params.server_no_context_takeover,
            client.server_alone || server.server_alone
        );
        prop_assert_eq!(
            params.client_no_context_takeover,
            client.client_alone || server.client_alone
        );
        let answer = response.headers()[EXTENSIONS].to_str().unwrap();
        prop_assert!(!answer.contains("client_max_window_bits") || !client.full_client_window);
    }
}

#[test]
fn a_side_that_does_not_ask_for_it_gets_none() {
    let with = Upgrade::default().deflate(Deflate::default());
    let without = Upgrade::default();

    let offer = with.offer("ws://a/").unwrap();
    let (response, agreed) = without.accept(offer.request()).unwrap();
    assert!(!response.headers().contains_key(EXTENSIONS));
    assert_eq!(agreed.deflate(), None);
    assert_eq!(offer.verify(&response).unwrap().deflate(), None);

    let offer = without.offer("ws://a/").unwrap();
    assert!(!offer.request().headers().contains_key(EXTENSIONS));
    let (response, agreed) = with.accept(offer.request()).unwrap();
    assert!(!response.headers().contains_key(EXTENSIONS));
    assert_eq!(agreed.deflate(), None);
}

/// §7.1.3: the example of a client that falls back.
#[test]
fn a_server_that_cannot_do_the_first_offer_takes_the_second() {
    let mut request = Upgrade::default()
        .offer("ws://a/")
        .unwrap()
        .request()
        .clone();
    let offers = "permessage-deflate; server_max_window_bits=8, permessage-deflate";
    request
        .headers_mut()
        .insert(EXTENSIONS, offers.parse().unwrap());
    let server = Upgrade::default().deflate(Deflate::default());
    let (response, _) = server.accept(&request).unwrap();
    assert_eq!(response.headers()[EXTENSIONS], "permessage-deflate");
}

/// E16: a window of 256 bytes cannot be deflated with, so nothing is compressed for such a peer.
#[test]
fn nothing_is_compressed_for_a_window_that_is_too_small() {
    let params = DeflateParams {
        server_no_context_takeover: false,
        client_no_context_takeover: false,
        server_max_window_bits: 8,
        client_max_window_bits: 8,
    };
    for role in [Role::Server, Role::Client] {
        let agreed = Agreed::default().with_deflate(params);
        let mut connection = Connection::new(role, agreed, Config::default());
        connection.send("a".repeat(1000)).unwrap();
        assert_eq!(connection.output().chunk()[0], 0x81, "RSV1 is not set");
    }
}

/// §5.1, §7.1: a client tells an extension that it did not offer from parameters that it did not.
#[test]
fn a_wrong_answer_is_reported_as_what_it_is() {
    let offer = Upgrade::default()
        .deflate(Deflate::default())
        .offer_with_nonce("ws://a/", *b"the sample nonce")
        .unwrap();
    let verify = |answer: &str| {
        let response = Response::builder()
            .status(101)
            .header("Upgrade", "websocket")
            .header("Connection", "Upgrade")
            .header("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
            .header(EXTENSIONS, answer)
            .body(());
        offer.verify(&response.unwrap())
    };
    assert!(verify("permessage-deflate").unwrap().deflate().is_some());
    for answer in [
        "x",
        "Permessage-Deflate",
        "permessage-deflate, permessage-deflate",
    ] {
        let fault = verify(answer).unwrap_err();
        assert!(matches!(fault, HandshakeError::WrongExtension), "{answer}");
    }
    for params in ["foo", "client_max_window_bits", "server_max_window_bits=16"] {
        let fault = verify(&format!("permessage-deflate; {params}")).unwrap_err();
        assert!(matches!(fault, HandshakeError::WrongDeflate), "{params}");
    }
}
