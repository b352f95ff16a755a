//! RFC 7692 §5 and §7.1: what a server answers, a client takes, and both agree on the same.
#![cfg(feature = "deflate")]

use bytes::Buf;
use http::{HeaderValue, Response};
use proptest::collection::vec;
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
    #![proptest_config(ProptestConfig {
        cases: 1000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// E3.
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
        let is_bounded = client.full_client_window && server.client_bits < 15;
        prop_assert_eq!(
            params.client_no_context_takeover,
            client.client_alone || server.client_alone || is_bounded
        );
        let answer = response.headers()[EXTENSIONS].to_str().unwrap();
        prop_assert!(!answer.contains("client_max_window_bits") || !client.full_client_window);
    }

    /// E1, E3 (server), E4 (server), E16 (server), W2: a server, told anything: against a model
    /// that was written from §5.1, §7 and §7.1.
    #[test]
    fn a_server_answers_as_the_rfc_says(offers in elements(), server in wish()) {
        let mut request = Upgrade::default().offer("ws://a/").unwrap().request().clone();
        let value = HeaderValue::from_str(&text_of(&offers)).unwrap();
        request.headers_mut().insert(EXTENSIONS, value);
        let (response, agreed) = Upgrade::default()
            .deflate(server.deflate())
            .accept(&request)
            .unwrap();
        let answer = response.headers().get(EXTENSIONS).map(|answer| answer.to_str().unwrap());
        let expected = offers.iter().find_map(|offer| model::answer(offer, server));
        prop_assert_eq!(answer, expected.as_deref());
        prop_assert_eq!(agreed.deflate(), answer.map(model::meaning));
    }

    /// U9, A6, E2, E3 (client), E4 (client), E5, E16 (client): a client, answered anything.
    #[test]
    fn a_client_takes_an_answer_as_the_rfc_says(
        answers in elements(),
        wishes in vec(wish(), 1..4),
    ) {
        let deflate = wishes.iter().map(|wish| wish.deflate()).reduce(Deflate::or).unwrap();
        let offer = Upgrade::default()
            .deflate(deflate)
            .offer_with_nonce("ws://a/", *b"the sample nonce")
            .unwrap();
        let offers = &offer.request().headers()[EXTENSIONS];
        let expected: Vec<_> = wishes.iter().map(|wish| model::offer(*wish)).collect();
        prop_assert_eq!(offers.to_str().unwrap(), expected.join(", "));

        let verdict = offer.verify(&response(&text_of(&answers)));
        match model::verdict(&answers, &wishes) {
            model::Verdict::Agreed(params) => {
                prop_assert_eq!(verdict.unwrap().deflate(), Some(params));
            }
            model::Verdict::WrongDeflate => {
                prop_assert!(matches!(verdict, Err(HandshakeError::WrongDeflate)), "{:?}", verdict);
            }
            model::Verdict::WrongExtension => {
                prop_assert!(matches!(verdict, Err(HandshakeError::WrongExtension)), "{:?}", verdict);
            }
        }
    }
}

/// An element of the header: a name and its parameters, each with a value or without.
type Element = (&'static str, Vec<(&'static str, Option<&'static str>)>);

/// One to four elements, most of them such as are sent.
fn elements() -> impl Strategy<Value = Vec<Element>> {
    let name = prop_oneof![
        9 => Just("permessage-deflate"),
        1 => prop::sample::select(vec!["x-other", "Permessage-Deflate", "permessage"]),
    ];
    let alone = || Just(("server_no_context_takeover", None));
    let client_alone = || Just(("client_no_context_takeover", None));
    let bits = || {
        prop_oneof![
            8 => prop::sample::select(vec!["8", "9", "10", "11", "12", "13", "14", "15"]),
            1 => prop::sample::select(vec!["7", "16", "08", "0", "x", "110", "9x"]),
        ]
    };
    let server_bits = bits().prop_map(|bits| ("server_max_window_bits", Some(bits)));
    let client_bits =
        prop::option::weighted(0.6, bits()).prop_map(|bits| ("client_max_window_bits", bits));
    let odd = prop::sample::select(vec![
        ("server_max_window_bits", None),
        ("server_no_context_takeover", Some("1")),
        ("client_no_context_takeover", Some("true")),
        ("Client_no_context_takeover", None),
        ("foo", None),
        ("foo", Some("10")),
    ]);
    let param = prop_oneof![
        4 => alone(),
        4 => client_alone(),
        6 => server_bits,
        6 => client_bits,
        1 => odd,
    ];
    vec((name, vec(param, 0..4)), 1..4)
}

/// As it is written, with values that are quoted and not, and spaces.
fn text_of(elements: &[Element]) -> String {
    let mut text = String::new();
    for (i, (name, params)) in elements.iter().enumerate() {
        text += ["", ", ", ","][if i == 0 { 0 } else { 1 + i % 2 }];
        text += name;
        for (j, (name, value)) in params.iter().enumerate() {
            text += ["; ", ";", " ; "][(i + j) % 3];
            text += name;
            match value {
                None => {}
                Some(value) if (i + j) % 2 == 0 => text += &format!("={value}"),
                Some(value) => text += &format!("=\"{value}\""),
            }
        }
    }
    text
}

/// What RFC 7692 says of a header, and what we choose where it leaves a choice.
mod model {
    use wsroom::deflate::DeflateParams;

    use super::{Element, Wish};

    pub(super) enum Verdict {
        Agreed(DeflateParams),
        WrongDeflate,
        WrongExtension,
    }

    /// §7: a parameter that is not defined, that is there twice, or has a value that is not.
    fn is_valid((_, params): &Element, is_offer: bool) -> bool {
        let is_number = |value: &str| (8..=15_u8).any(|bits| bits.to_string() == value);
        params.iter().enumerate().all(|(i, (name, value))| {
            let is_repeated = params[..i].iter().any(|(other, _)| other == name);
            let has_its_value = match (*name, value) {
                // §7.1.1.1, §7.1.1.2: "has no value".
                ("server_no_context_takeover" | "client_no_context_takeover", None) => true,
                // §7.1.2.1: a value always.
                ("server_max_window_bits", Some(value)) => is_number(value),
                // §7.1.2.2: a value or none in an offer, a value in an answer.
                ("client_max_window_bits", None) => is_offer,
                ("client_max_window_bits", Some(value)) => is_number(value),
                _ => false,
            };
            !is_repeated && has_its_value
        })
    }

    fn find(params: &Element, name: &str) -> Option<Option<u8>> {
        let (_, value) = params.1.iter().find(|(other, _)| *other == name)?;
        Some(value.map(|value| value.parse().unwrap()))
    }

    /// What a server answers to an offer; `None` declines it.
    pub(super) fn answer(offer: &Element, server: Wish) -> Option<String> {
        if offer.0 != "permessage-deflate" || !is_valid(offer, true) {
            return None;
        }
        let mut answer = vec!["permessage-deflate".to_owned()];
        // §7.1.1.1: accepted if it is offered; or the server's own choice.
        if server.server_alone || find(offer, "server_no_context_takeover").is_some() {
            answer.push("server_no_context_takeover".into());
        }
        let client_bits = find(offer, "client_max_window_bits");
        // §7.1.1.2: a hint that we take; or the server's own choice, by which it also holds to a
        // window that it may not ask for.
        if server.client_alone
            || find(offer, "client_no_context_takeover").is_some()
            || server.client_bits < 15 && client_bits.is_none()
        {
            answer.push("client_no_context_takeover".into());
        }
        // §7.1.2.1: the same or a smaller value. E16: 8 is declined.
        match find(offer, "server_max_window_bits") {
            Some(Some(8)) => return None,
            Some(Some(bits)) => {
                let bits = bits.min(server.server_bits);
                answer.push(format!("server_max_window_bits={bits}"));
            }
            _ if server.server_bits < 15 => {
                answer.push(format!("server_max_window_bits={}", server.server_bits));
            }
            _ => {}
        }
        // §7.1.2.2: only if it is offered; the same or a smaller value; 15 need not be said.
        let limit = client_bits.map(|bits| bits.unwrap_or(15).min(server.client_bits));
        if let Some(bits @ ..15) = limit {
            answer.push(format!("client_max_window_bits={bits}"));
        }
        Some(answer.join("; "))
    }

    /// What both sides do by an answer.
    pub(super) fn meaning(answer: &str) -> DeflateParams {
        let value = |name: &str| {
            let at = answer.find(name)?;
            let digits: String = answer[at + name.len() + 1..]
                .chars()
                .take_while(char::is_ascii_digit)
                .collect();
            digits.parse().ok()
        };
        DeflateParams {
            server_no_context_takeover: answer.contains("server_no_context_takeover"),
            client_no_context_takeover: answer.contains("client_no_context_takeover"),
            server_max_window_bits: value("server_max_window_bits").unwrap_or(15),
            client_max_window_bits: value("client_max_window_bits").unwrap_or(15),
        }
    }

    /// What a client offers.
    pub(super) fn offer(wish: Wish) -> String {
        let mut offer = "permessage-deflate".to_owned();
        if wish.server_alone {
            offer += "; server_no_context_takeover";
        }
        if wish.client_alone {
            offer += "; client_no_context_takeover";
        }
        if wish.server_bits < 15 {
            offer += &format!("; server_max_window_bits={}", wish.server_bits);
        }
        match (wish.full_client_window, wish.client_bits) {
            (true, _) => {}
            (false, 15) => offer += "; client_max_window_bits",
            (false, bits) => offer += &format!("; client_max_window_bits={bits}"),
        }
        offer
    }

    /// What a client makes of an answer.
    pub(super) fn verdict(answers: &[Element], wishes: &[Wish]) -> Verdict {
        let [answer @ ("permessage-deflate", _)] = answers else {
            return Verdict::WrongExtension;
        };
        if !is_valid(answer, false) {
            return Verdict::WrongDeflate;
        }
        let server_bits = find(answer, "server_max_window_bits").flatten();
        let client_bits = find(answer, "client_max_window_bits").flatten();
        let server_alone = find(answer, "server_no_context_takeover").is_some();
        let client_alone = find(answer, "client_no_context_takeover").is_some();
        let met = wishes.iter().find(|wish| {
            // §7.1.1.1: what was offered has to be in the answer.
            let is_alone = server_alone || !wish.server_alone;
            // §7.1.2.1: the same or a smaller value, if one was offered.
            let is_small =
                wish.server_bits == 15 || server_bits.is_some_and(|bits| bits <= wish.server_bits);
            // §7.1.2.2: nothing that was not offered, and the same or a smaller value.
            let is_offered = match client_bits {
                None => true,
                // E16: it cannot be compressed with.
                Some(8) => false,
                Some(bits) => !wish.full_client_window && bits <= wish.client_bits,
            };
            is_alone && is_small && is_offered
        });
        let Some(wish) = met else {
            return Verdict::WrongDeflate;
        };
        let own_bits = if wish.full_client_window {
            15
        } else {
            wish.client_bits
        };
        Verdict::Agreed(DeflateParams {
            server_no_context_takeover: server_alone,
            // §7.1.1.2, §7.1.2.2: the client keeps to what its hints say.
            client_no_context_takeover: client_alone || wish.client_alone,
            server_max_window_bits: server_bits.unwrap_or(15),
            client_max_window_bits: client_bits.unwrap_or(own_bits),
        })
    }
}

/// E1, E3 (server), §7.1.3: and the first example of §5.1, each offer with all that a server may
/// answer.
#[test]
fn the_examples_of_the_rfc_are_answered_byte_by_byte() {
    let fallback = "permessage-deflate; client_max_window_bits; server_max_window_bits=10, \
                    permessage-deflate; client_max_window_bits";
    let any = Deflate::default();
    let small_client = any.clone().client_max_window_bits(10);
    let alone = any.clone().client_no_context_takeover();
    for (offer, server, answer) in [
        ("permessage-deflate", &any, "permessage-deflate"),
        (
            "permessage-deflate; client_max_window_bits; server_max_window_bits=10",
            &any,
            "permessage-deflate; server_max_window_bits=10",
        ),
        (
            "permessage-deflate; server_max_window_bits=\"10\"",
            &any,
            "permessage-deflate; server_max_window_bits=10",
        ),
        (
            fallback,
            &any,
            "permessage-deflate; server_max_window_bits=10",
        ),
        (
            fallback,
            &small_client,
            "permessage-deflate; server_max_window_bits=10; client_max_window_bits=10",
        ),
        (
            fallback,
            &alone,
            "permessage-deflate; client_no_context_takeover; server_max_window_bits=10",
        ),
        (
            "permessage-foo, permessage-deflate; server_max_window_bits=8, permessage-deflate",
            &any,
            "permessage-deflate",
        ),
        (
            "permessage-deflate; client_max_window_bits=16, permessage-deflate; \
             server_no_context_takeover; client_no_context_takeover",
            &any,
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
        ),
    ] {
        let mut request = Upgrade::default()
            .offer("ws://a/")
            .unwrap()
            .request()
            .clone();
        let offer = HeaderValue::from_static(offer);
        request.headers_mut().insert(EXTENSIONS, offer);
        let server = Upgrade::default().deflate(server.clone());
        let (response, _) = server.accept(&request).unwrap();
        assert_eq!(response.headers()[EXTENSIONS], answer);
    }
}

/// §7.1.2.2: a server may not answer with a limit that was not offered, and holds to its own.
#[test]
fn a_server_never_holds_a_larger_window_of_a_client_than_it_allows() {
    for bits in 9..15 {
        let server = Upgrade::default().deflate(Deflate::default().client_max_window_bits(bits));
        for client in [
            Deflate::default(),
            Deflate::default().full_client_window(),
            Deflate::default().client_max_window_bits(14),
        ] {
            let offer = Upgrade::default().deflate(client).offer("ws://a/").unwrap();
            let (response, agreed) = server.accept(offer.request()).unwrap();
            assert_eq!(offer.verify(&response).unwrap(), agreed);
            let params = agreed.deflate().unwrap();
            assert!(params.client_no_context_takeover || params.client_max_window_bits <= bits);
        }
    }
}

/// E16, §7.1.2: there are windows of 8 to 15 bits, and 8 cannot be compressed with.
#[test]
fn a_window_that_cannot_be_had_is_reported_before_anything_is_sent() {
    let request = Upgrade::default()
        .offer("ws://a/")
        .unwrap()
        .request()
        .clone();
    for bits in [0, 1, 7, 8, 16, 255] {
        let server_window = Deflate::default().server_max_window_bits(bits);
        let client_window = Deflate::default().client_max_window_bits(bits);
        for deflate in [
            server_window.clone().server_max_window_bits(12),
            server_window,
            Deflate::default().or(client_window.clone()),
            client_window,
        ] {
            let upgrade = Upgrade::default().deflate(deflate);
            let fault = upgrade.offer("ws://a/").unwrap_err();
            assert!(matches!(fault, HandshakeError::WindowBits), "{bits}");
            let fault = upgrade.accept(&request).unwrap_err();
            assert!(matches!(fault, HandshakeError::WindowBits), "{bits}");
        }
    }
}

/// W2.
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

/// E1, E16 (server), §7.1.3: the example of a client that falls back.
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

/// A6, E2, §5.1, §7.1: a client tells an extension that it did not offer from parameters that it
/// did not.
#[test]
fn a_wrong_answer_is_reported_as_what_it_is() {
    let offer = Upgrade::default()
        .deflate(Deflate::default())
        .offer_with_nonce("ws://a/", *b"the sample nonce")
        .unwrap();
    let verify = |answer: &str| offer.verify(&response(answer));
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

/// A good answer to the sample nonce, with these extensions.
fn response(extensions: &str) -> Response<()> {
    Response::builder()
        .status(101)
        .header("Upgrade", "websocket")
        .header("Connection", "Upgrade")
        .header("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
        .header(EXTENSIONS, extensions)
        .body(())
        .unwrap()
}

/// `accept_with` has a way of its own from the request to the answer.
#[cfg(feature = "tokio")]
#[tokio::test]
async fn two_sockets_agree_on_what_was_asked_for() {
    let upgrade = Upgrade::default()
        .protocols(["chat"])
        .deflate(Deflate::default().server_max_window_bits(12));
    let (near, far) = tokio::io::duplex(1024);
    let (server, client) = tokio::join!(
        wsroom::net::accept_with(far, &upgrade, Config::default()),
        wsroom::net::connect_over(near, "ws://localhost/", &upgrade, Config::default()),
    );
    let (server, (client, _)) = (server.unwrap(), client.unwrap());
    assert_eq!(server.agreed(), client.agreed());
    assert_eq!(server.protocol(), Some("chat"));
    let params = server.agreed().deflate().unwrap();
    assert_eq!(params.server_max_window_bits, 12);
}
