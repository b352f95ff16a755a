//! The client's part (§3, §4.1).

use std::collections::HashSet;

use http::{Response, Version};
use wsroom::handshake::{HandshakeError, Upgrade};

use crate::{NONCE, offer_of, request, switching};

/// U1, U2, U4: the parts of a URL, and the Host that is made of them.
#[test]
fn a_url_gives_host_port_target_and_the_host_header() {
    for (url, host, port, secure, target, header) in [
        ("ws://a.example", "a.example", 80, false, "/", "a.example"),
        ("wss://a.example/", "a.example", 443, true, "/", "a.example"),
        (
            "ws://a.example:80/x",
            "a.example",
            80,
            false,
            "/x",
            "a.example",
        ),
        (
            "wss://a.example:443/x",
            "a.example",
            443,
            true,
            "/x",
            "a.example",
        ),
        (
            "ws://a.example:443/x",
            "a.example",
            443,
            false,
            "/x",
            "a.example:443",
        ),
        (
            "wss://a.example:8443/x",
            "a.example",
            8443,
            true,
            "/x",
            "a.example:8443",
        ),
        (
            "ws://a.example:/x",
            "a.example",
            80,
            false,
            "/x",
            "a.example",
        ),
        (
            "ws://a.example?q=1&r=/",
            "a.example",
            80,
            false,
            "/?q=1&r=/",
            "a.example",
        ),
        (
            "ws://a.example/x/?",
            "a.example",
            80,
            false,
            "/x/?",
            "a.example",
        ),
        (
            "WS://A.Example/X",
            "a.example",
            80,
            false,
            "/X",
            "a.example",
        ),
        (
            "ws://127.0.0.1:9001/",
            "127.0.0.1",
            9001,
            false,
            "/",
            "127.0.0.1:9001",
        ),
        ("ws://[::1]/", "::1", 80, false, "/", "[::1]"),
        ("ws://[::1]:9001/", "::1", 9001, false, "/", "[::1]:9001"),
        ("ws://a/%23%20x", "a", 80, false, "/%23%20x", "a"),
        ("ws://a//b", "a", 80, false, "//b", "a"),
        ("ws://a/@b:c", "a", 80, false, "/@b:c", "a"),
    ] {
        let offer = Upgrade::default().offer(url).unwrap();
        assert_eq!(
            (offer.host(), offer.port(), offer.is_secure()),
            (host, port, secure),
            "{url}"
        );
        let start = format!("GET {target} HTTP/1.1\r\nHost: {header}\r\n");
        assert!(offer.encode().starts_with(start.as_bytes()), "{url}");
        assert_eq!(offer.request().uri(), target, "{url}");
    }
}

/// U1, U2, O09, O12.
#[test]
fn a_url_that_no_websocket_has_is_an_error() {
    let fault = |url: &str| Upgrade::default().offer(url).unwrap_err();
    for url in ["http://a/", "https://a/", "ftp://a/", "wsx://a/", "://a/"] {
        assert!(matches!(fault(url), HandshakeError::UrlScheme), "{url}");
    }
    for url in ["ws://a/x#y", "ws://a#", "ws://a/#"] {
        assert!(matches!(fault(url), HandshakeError::UrlFragment), "{url}");
    }
    for url in [
        "ws://",
        "ws:///x",
        "ws://:80/",
        "ws://[::g]/",
        "ws://[::1/",
        "ws://a\\b/",
    ] {
        assert!(matches!(fault(url), HandshakeError::UrlHost), "{url}");
    }
    for url in [
        "ws://a:0/",
        "ws://a:65536/",
        "ws://a:99999",
        "ws://a:b/",
        "ws://a:-1/",
    ] {
        assert!(matches!(fault(url), HandshakeError::UrlPort), "{url}");
    }
    for url in ["ws://u@a/", "ws://u:p@a/", "ws://u:p@/", "ws://@a/"] {
        assert!(matches!(fault(url), HandshakeError::UrlUserinfo), "{url}");
    }
    for url in [
        "",
        "a",
        "/a",
        "ws:a",
        "ws:/a",
        "ws://a/ b",
        "ws://a/\r\nX: y",
        "ws://a/\0",
        "ws://a/\u{e9}",
        "ws://\u{e9}/",
        " ws://a/",
    ] {
        assert!(matches!(fault(url), HandshakeError::UrlSyntax), "{url:?}");
    }
}

/// U3 to U5, U7, U8: the request, byte for byte.
#[test]
fn a_request_has_every_header_once_and_host_first() {
    let offer = Upgrade::default()
        .protocols(["chat", "superchat"])
        .origin("http://example.com")
        .header("authorization", "Bearer x")
        .header("Cookie", "a=1")
        .header("Cookie", "b=2")
        .offer_with_nonce("ws://server.example.com/chat", NONCE)
        .unwrap();
    assert_eq!(
        str::from_utf8(&offer.encode()).unwrap(),
        "GET /chat HTTP/1.1\r\n\
         Host: server.example.com\r\n\
         Upgrade: websocket\r\n\
         Connection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Protocol: chat, superchat\r\n\
         Origin: http://example.com\r\n\
         Authorization: Bearer x\r\n\
         Cookie: a=1\r\n\
         Cookie: b=2\r\n\
         \r\n"
    );
}

/// U6.
#[test]
fn ten_thousand_keys_are_all_different() {
    let upgrade = Upgrade::default();
    let mut keys = HashSet::new();
    for _ in 0..10_000 {
        let offer = upgrade.offer("ws://a/").unwrap();
        let key = offer.request().headers()["sec-websocket-key"].clone();
        assert_eq!(key.len(), 24);
        assert!(key.as_bytes().ends_with(b"=="));
        assert!(keys.insert(key));
    }
}

/// U8, O09, O10, O17: U8; §4.1, item 10.
#[test]
fn subprotocols_are_tokens_and_unique() {
    for protocols in [
        &["a", "a"][..],
        &[""],
        &["a b"],
        &["a,b"],
        &["a\r\nX: y"],
        &["\u{e9}"],
    ] {
        let upgrade = Upgrade::default().protocols(protocols.iter().copied());
        let fault = upgrade.offer("ws://a/").unwrap_err();
        assert!(
            matches!(fault, HandshakeError::ProtocolName),
            "{protocols:?}"
        );
        let fault = upgrade.accept(&request()).unwrap_err();
        assert!(
            matches!(fault, HandshakeError::ProtocolName),
            "{protocols:?}"
        );
        assert_eq!(fault.status(), 500);
    }
}

/// U11, O09, O10: nothing that an application passes makes a line of its own.
#[test]
fn an_additional_header_cannot_end_its_line() {
    for value in ["a\r\nX: y", "a\nX: y", "a\rb", "a\0b", "\r\n\r\n"] {
        let upgrade = Upgrade::default().header("x-a", value);
        let fault = upgrade.offer("ws://a/").unwrap_err();
        assert!(matches!(fault, HandshakeError::HeaderValue), "{value:?}");
        let fault = upgrade.accept(&request()).unwrap_err();
        assert!(matches!(fault, HandshakeError::HeaderValue), "{value:?}");
        let fault = Upgrade::default()
            .origin(value)
            .offer("ws://a/")
            .unwrap_err();
        assert!(matches!(fault, HandshakeError::HeaderValue), "{value:?}");
    }
    for name in ["", "a b", "a:", "a\r\nb", "\u{e9}"] {
        let fault = Upgrade::default()
            .header(name, "v")
            .offer("ws://a/")
            .unwrap_err();
        assert!(matches!(fault, HandshakeError::HeaderName), "{name:?}");
    }
}

/// O11.
#[test]
fn the_headers_of_the_handshake_are_its_own() {
    for name in [
        "Host",
        "Origin",
        "upgrade",
        "Connection",
        "Sec-WebSocket-Key",
        "Sec-WebSocket-Accept",
        "sec-websocket-version",
        "Sec-WebSocket-Protocol",
        "Sec-WebSocket-Extensions",
        "Content-Length",
        "Transfer-Encoding",
    ] {
        let upgrade = Upgrade::default().header(name, "x").header("x-a", "b");
        let fault = upgrade.offer("ws://a/").unwrap_err();
        assert!(matches!(fault, HandshakeError::ReservedHeader), "{name}");
        let fault = upgrade.accept(&request()).unwrap_err();
        assert!(matches!(fault, HandshakeError::ReservedHeader), "{name}");
    }
}

/// A1, A11: a refusal gives the response back.
#[test]
fn another_status_than_101_is_reported_with_its_headers() {
    let offer = Upgrade::default().offer("ws://a/").unwrap();
    for status in [200, 204, 301, 401, 426, 500] {
        let response = Response::builder()
            .status(status)
            .header("Location", "/b")
            .body(());
        let HandshakeError::Refused(refused) = offer.verify(&response.unwrap()).unwrap_err() else {
            panic!("{status} is a refusal");
        };
        assert_eq!(refused.status(), status);
        assert_eq!(refused.headers()["location"], "/b");
    }
}

/// A3 to A7: each rule on its own.
#[test]
fn a_client_checks_every_header_of_a_101() {
    let offer = offer_of(["chat"]);
    assert_eq!(offer.verify(&switching(&[])).unwrap().protocol(), None);
    let chat = offer.verify(&switching(&[("sec-websocket-protocol", "chat")]));
    assert_eq!(chat.unwrap().protocol(), Some("chat"));

    type Check = fn(&HandshakeError) -> bool;
    let faults: [(&str, &str, Check); 7] = [
        ("upgrade", "h2c", |e| {
            matches!(e, HandshakeError::WrongUpgrade)
        }),
        ("connection", "close", |e| {
            matches!(e, HandshakeError::WrongConnection)
        }),
        ("sec-websocket-accept", "", |e| {
            matches!(e, HandshakeError::WrongAccept)
        }),
        ("sec-websocket-extensions", "x", |e| {
            matches!(e, HandshakeError::WrongExtension)
        }),
        ("sec-websocket-extensions", ";", |e| {
            matches!(e, HandshakeError::ExtensionSyntax)
        }),
        ("sec-websocket-protocol", "Chat", |e| {
            matches!(e, HandshakeError::WrongProtocol)
        }),
        ("sec-websocket-protocol", "chat,x", |e| {
            matches!(e, HandshakeError::WrongProtocol)
        }),
    ];
    for (name, value, is_right) in faults {
        let fault = offer.verify(&switching(&[(name, value)])).unwrap_err();
        assert!(is_right(&fault), "{name}: {value} gives {fault:?}");
    }
    for name in ["upgrade", "connection", "sec-websocket-accept"] {
        let mut response = switching(&[]);
        response.headers_mut().remove(name);
        assert!(offer.verify(&response).is_err(), "{name} is needed");
    }
}

/// A8: A8; §4.1: HTTP/1.1 or higher; in HTTP/1.0 there is no upgrade.
#[test]
fn a_101_of_http_1_0_is_refused() {
    let mut response = switching(&[]);
    *response.version_mut() = Version::HTTP_10;
    let fault = offer_of(["chat"]).verify(&response).unwrap_err();
    assert!(matches!(fault, HandshakeError::HttpVersion));
}
