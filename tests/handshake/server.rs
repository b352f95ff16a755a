//! The server's part (§4.2, §10.2).

use http::header::{HeaderName, HeaderValue};
use http::{Method, Request, Version};
use wsroom::handshake::{HandshakeError, Upgrade, encode_accepted, extension_offers};

use crate::{request, status_of};

/// W1, §4.2.1, §1.2: the example, and the 101 byte for byte.
#[test]
fn the_example_of_the_rfc_is_answered() {
    let upgrade = Upgrade::default()
        .protocols(["chat"])
        .header("Set-Cookie", "a=1")
        .header("Set-Cookie", "b=2");
    let mut request = request();
    let offered = HeaderValue::from_static("chat, superchat");
    request
        .headers_mut()
        .insert("sec-websocket-protocol", offered);
    let (response, agreed) = upgrade.accept(&request).unwrap();
    assert_eq!(agreed.protocol(), Some("chat"));
    assert_eq!(
        str::from_utf8(&encode_accepted(&request, &response)).unwrap(),
        "HTTP/1.1 101 Switching Protocols\r\n\
         Upgrade: websocket\r\n\
         Connection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
         Sec-WebSocket-Protocol: chat\r\n\
         Set-Cookie: a=1\r\n\
         Set-Cookie: b=2\r\n\
         \r\n"
    );
}

/// S19, O11: the preference of the server decides.
#[test]
fn the_first_subprotocol_of_the_server_that_is_offered_is_chosen() {
    for (ours, offered, chosen) in [
        (&["b", "a"][..], "a, b", Some("b")),
        (&["c", "a"], "a, b", Some("a")),
        (&["c"], "a, b", None),
        (&[], "a, b", None),
    ] {
        let mut request = request();
        let offered = HeaderValue::from_static(offered);
        request
            .headers_mut()
            .insert("sec-websocket-protocol", offered);
        let upgrade = Upgrade::default().protocols(ours.iter().copied());
        let (response, agreed) = upgrade.accept(&request).unwrap();
        assert_eq!(agreed.protocol(), chosen);
        let header = response.headers().get("sec-websocket-protocol");
        assert_eq!(header.map(|value| value.to_str().unwrap()), chosen);
    }
}

/// S18: each name is compared with those before it, so their number is limited.
#[test]
fn at_most_64_subprotocols_are_read() {
    let list = |count: usize| {
        let names: Vec<String> = (0..count).map(|number| format!("p{number}")).collect();
        let mut request = request();
        let list = HeaderValue::from_str(&names.join(",")).unwrap();
        request.headers_mut().insert("sec-websocket-protocol", list);
        Upgrade::default().protocols(["p63"]).accept(&request)
    };
    assert_eq!(list(64).unwrap().1.protocol(), Some("p63"));
    assert!(matches!(list(65), Err(HandshakeError::TooManyProtocols)));
}

/// S12 to S17, S20, S26: what one changed header does to the status, where an HTTP library read the
/// request.
#[test]
fn a_request_from_an_http_library_is_judged_like_one_from_bytes() {
    for (name, value, status) in [
        ("host", None, 400),
        ("host", Some("a b"), 400),
        ("host", Some(""), 400),
        ("content-length", Some("5"), 400),
        ("content-length", Some("0"), 101),
        ("transfer-encoding", Some("chunked"), 400),
        ("upgrade", None, 426),
        ("upgrade", Some("h2c, WebSocket"), 101),
        ("upgrade", Some("websocket/13"), 426),
        ("upgrade", Some("web socket"), 400),
        ("connection", None, 426),
        ("connection", Some("keep-alive, upgrade"), 101),
        ("connection", Some("\"upgrade\""), 400),
        ("sec-websocket-version", None, 400),
        ("sec-websocket-version", Some("12"), 426),
        ("sec-websocket-version", Some("256"), 400),
        ("sec-websocket-key", None, 400),
        ("sec-websocket-key", Some("dGhlIHNhbXBsZSBub25jZQ"), 400),
        (
            "sec-websocket-extensions",
            Some("permessage-deflate; x"),
            101,
        ),
        ("sec-websocket-extensions", Some("permessage-deflate;"), 400),
    ] {
        let mut request = request();
        match value {
            Some(value) => {
                let name = HeaderName::from_static(name);
                request
                    .headers_mut()
                    .insert(name, HeaderValue::from_static(value));
            }
            None => {
                request.headers_mut().remove(name);
            }
        }
        assert_eq!(
            status_of(&Upgrade::default(), &request),
            status,
            "{name}: {value:?}"
        );
    }
}

/// S1 to S3, as an HTTP library gives them.
#[test]
fn method_version_and_target_are_checked() {
    let with = |change: fn(&mut Request<()>)| {
        let mut request = request();
        change(&mut request);
        status_of(&Upgrade::default(), &request)
    };
    assert_eq!(with(|r| *r.method_mut() = Method::POST), 405);
    assert_eq!(with(|r| *r.version_mut() = Version::HTTP_10), 505);
    assert_eq!(with(|r| *r.version_mut() = Version::HTTP_2), 505);
    assert_eq!(with(|r| *r.uri_mut() = "*".parse().unwrap()), 400);
    assert_eq!(
        with(|r| *r.uri_mut() = "a.example:80".parse().unwrap()),
        400
    );
    assert_eq!(with(|r| *r.uri_mut() = "http://u@a/".parse().unwrap()), 400);
    assert_eq!(with(|r| *r.uri_mut() = "ftp://a/".parse().unwrap()), 400);
    assert_eq!(
        with(|r| *r.uri_mut() = "HTTPS://a/b?c".parse().unwrap()),
        101
    );
}

/// S16, S17: the version is a number from 0 to 255 without leading zeros (§4.3).
#[test]
fn every_version_is_answered_by_its_form() {
    for version in 0..1200 {
        let mut request = request();
        let value = HeaderValue::from_str(&version.to_string()).unwrap();
        request.headers_mut().insert("sec-websocket-version", value);
        let status = match version {
            13 => 101,
            0..=255 => 426,
            _ => 400,
        };
        assert_eq!(
            status_of(&Upgrade::default(), &request),
            status,
            "{version}"
        );
    }
}

/// S21, §10.2: scheme, host and port, in any case, as a whole.
#[test]
fn an_origin_is_let_in_by_the_list_or_by_its_host() {
    let listed = Upgrade::default().allow_origins(["https://good.example", "http://b:8080"]);
    let same = Upgrade::default().same_origin();
    let both = listed.clone().same_origin();
    let none = Upgrade::default().allow_origins([""; 0]);
    for (origin, host, by_list, by_host) in [
        ("https://good.example", "a", true, false),
        ("HTTPS://Good.Example", "a", true, false),
        ("http://b:8080", "b:8080", true, true),
        ("https://good.example:443", "good.example", false, true),
        ("https://good.example.evil", "good.example", false, false),
        ("https://evil-good.example", "good.example", false, false),
        ("https://a", "a", false, true),
        ("http://a", "a", false, true),
        ("https://a", "A:443", false, true),
        ("https://a", "a:80", false, false),
        ("http://a:8080", "a", false, false),
        ("http://[::1]:8080", "[::1]:8080", false, true),
        ("https://a/", "a", false, false),
        ("https://u@a", "a", false, false),
        ("a", "a", false, false),
        ("ftp://a", "a", false, false),
        ("null", "null", false, false),
        ("", "a", false, false),
    ] {
        let mut request = request();
        let headers = request.headers_mut();
        headers.insert("origin", HeaderValue::from_static(origin));
        headers.insert("host", HeaderValue::from_static(host));
        let status = |upgrade: &Upgrade| status_of(upgrade, &request);
        let expect = |allowed| if allowed { 101 } else { 403 };
        assert_eq!(status(&listed), expect(by_list), "{origin} in the list");
        assert_eq!(status(&same), expect(by_host), "{origin} to {host}");
        assert_eq!(
            status(&both),
            expect(by_list || by_host),
            "{origin} to {host}"
        );
        assert_eq!(status(&none), 403, "{origin} in an empty list");
        assert_eq!(status(&Upgrade::default()), 101, "{origin} to anybody");
    }
    // §4.2.1, item 7: who sends no Origin is no browser.
    assert_eq!(status_of(&none, &request()), 101);
    let mut twice = request();
    for _ in 0..2 {
        twice
            .headers_mut()
            .append("origin", HeaderValue::from_static("https://good.example"));
    }
    assert_eq!(status_of(&listed, &twice), 400);
}

/// S21: an absolute target names the host in place of Host (RFC 9112 §3.2.2).
#[test]
fn the_same_origin_is_that_of_an_absolute_target() {
    let upgrade = Upgrade::default().same_origin();
    let mut request = request();
    *request.uri_mut() = "http://b.example/".parse().unwrap();
    request
        .headers_mut()
        .insert("origin", HeaderValue::from_static("http://b.example"));
    assert_eq!(status_of(&upgrade, &request), 101);
    request.headers_mut().insert(
        "origin",
        HeaderValue::from_static("http://server.example.com"),
    );
    assert_eq!(status_of(&upgrade, &request), 403);
}

#[test]
fn what_a_client_offers_can_be_looked_at() {
    let mut request = request();
    let offer = HeaderValue::from_static("permessage-deflate; client_max_window_bits, x; y=\"z\"");
    request
        .headers_mut()
        .insert("sec-websocket-extensions", offer);
    let offers = extension_offers(request.headers()).unwrap();
    assert_eq!(offers[0].name(), "permessage-deflate");
    assert!(offers[0].params().eq([("client_max_window_bits", None)]));
    assert_eq!(offers[1].name(), "x");
    assert!(offers[1].params().eq([("y", Some("z"))]));
}
