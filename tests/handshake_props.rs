//! Laws of the opening handshake, for any input (RFC 6455 §4).

use proptest::collection::{hash_set, vec};
use proptest::prelude::*;
use wsroom::handshake::{
    HandshakeError, RequestHead, ResponseHead, Upgrade, encode_accepted, encode_response,
};

proptest! {
    /// What we offer, we accept; and what we accept, we verify to the same agreement.
    #[test]
    fn a_client_and_a_server_agree(
        host in "[a-z][a-z0-9.-]{0,20}|127\\.0\\.0\\.1|\\[::1\\]",
        port in proptest::option::of(1_u16..),
        target in "(/[a-zA-Z0-9._~%!$&'()*+,;=:@/-]{0,40})?(\\?[a-zA-Z0-9/?&=]{0,20})?",
        nonce: [u8; 16],
        offered in hash_set("[!#$%&'*+.^_`|~0-9A-Za-z-]{1,8}", 0..5),
        spoken in hash_set("[!#$%&'*+.^_`|~0-9A-Za-z-]{1,8}", 0..5),
        shared in proptest::option::of("[a-z]{9,12}"),
        names in vec("x-[a-z]{1,8}", 0..4),
        values in vec("[ -~\\t\u{e9}]{0,20}", 4),
        size in 1_usize..80,
    ) {
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        let url = format!("ws://{host}{port}{target}");
        let mut ours = Upgrade::default().protocols(offered.into_iter().chain(shared.clone()));
        let mut theirs = Upgrade::default().protocols(shared.clone().into_iter().chain(spoken));
        for (name, value) in names.iter().zip(&values) {
            ours = ours.header(name.as_str(), value.as_str());
            theirs = theirs.header(name.as_str(), value.as_str());
        }

        let offer = ours.offer_with_nonce(&url, nonce).unwrap();
        let mut reader = RequestHead::new(&theirs);
        let (request, rest) = cut(&offer.encode(), size, |input| reader.receive(input));
        let request = request.unwrap().unwrap();
        prop_assert_eq!(rest, 0);
        prop_assert_eq!(request.uri(), offer.request().uri());
        prop_assert_eq!(request.headers().len(), offer.request().headers().len());

        let (response, agreed) = theirs.accept(&request).unwrap();
        let bytes = encode_accepted(&request, &response);
        let mut reader = ResponseHead::new(&ours);
        let (response, rest) = cut(&bytes, size, |input| reader.receive(input));
        prop_assert_eq!(rest, 0);
        prop_assert_eq!(offer.verify(&response.unwrap().unwrap()).unwrap(), agreed.clone());
        if let Some(shared) = shared {
            prop_assert_eq!(agreed.protocol(), Some(shared.as_str()));
        }
    }

    /// Same bytes, same result, however they are cut; and the server has an answer to anything.
    #[test]
    fn any_bytes_give_one_result(bytes in heads(), size in 1_usize..40) {
        let upgrade = Upgrade::default().max_head_size(300).max_line_size(60).max_headers(6);
        let requests = [bytes.len().max(1), size, 1].map(|size| {
            let mut reader = RequestHead::new(&upgrade);
            let (result, rest) = cut(&bytes, size, |input| reader.receive(input));
            let answer = result.map(|result| match result.and_then(|request| {
                let (response, _) = upgrade.accept(&request)?;
                Ok(encode_accepted(&request, &response))
            }) {
                Ok(response) => response,
                Err(fault) => encode_response(&fault.response()),
            });
            (answer, rest)
        });
        prop_assert_eq!(&requests[0], &requests[1]);
        prop_assert_eq!(&requests[0], &requests[2]);
        prop_assert!(bytes.len() - requests[0].1 <= 300);

        let offer = upgrade.offer_with_nonce("ws://a/", *b"the sample nonce").unwrap();
        let responses = [bytes.len().max(1), size, 1].map(|size| {
            let mut reader = ResponseHead::new(&upgrade);
            let (result, rest) = cut(&bytes, size, |input| reader.receive(input));
            let verdict = result.map(|result| match result.and_then(|r| offer.verify(&r)) {
                Ok(agreed) => format!("{agreed:?}"),
                Err(fault) => format!("{fault:?}"),
            });
            (verdict, rest)
        });
        prop_assert_eq!(&responses[0], &responses[1]);
        prop_assert_eq!(&responses[0], &responses[2]);
    }

    /// U11 (client), O09: whatever an application passes, a head has the lines that it asked for,
    /// or is not made.
    #[test]
    fn nothing_passed_in_makes_a_line_of_its_own(
        name in "[a-zA-Z:\r\n \0]{0,6}",
        value in "[a-z:\r\n \0\u{e9}]{0,12}",
        protocol in "[a-z,\r\n \0]{0,6}",
        path in "[a-z/\r\n \0?#]{0,8}",
    ) {
        let upgrade = Upgrade::default()
            .header(name.as_str(), value.as_str())
            .origin(value.as_str())
            .protocols([protocol.as_str()]);
        if let Ok(offer) = upgrade.offer(&format!("ws://a/{path}")) {
            // The start line, five headers, protocol, origin, the additional one, the empty line.
            let bytes = offer.encode();
            prop_assert_eq!(bytes.iter().filter(|&&byte| byte == b'\n').count(), 10);
            prop_assert_eq!(bytes.iter().filter(|&&byte| byte == b'\r').count(), 10);
            prop_assert!(bytes.ends_with(b"\r\n\r\n"));
            prop_assert!(!bytes.contains(&0));
        }
    }
}

/// Feeds `bytes` in pieces until there is a result; gives it and how many bytes were left.
fn cut<T>(
    bytes: &[u8],
    size: usize,
    mut receive: impl FnMut(&mut &[u8]) -> Result<Option<T>, HandshakeError>,
) -> (Option<Result<T, HandshakeError>>, usize) {
    let mut left = bytes.len();
    for piece in bytes.chunks(size) {
        let mut input = piece;
        let result = receive(&mut input).transpose();
        left -= piece.len() - input.len();
        if result.is_some() {
            return (result, left);
        }
    }
    (None, left)
}

/// Bytes that come far into the grammar of a head, and sometimes all the way.
fn heads() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        10 => prop::sample::select(vec![
            "\r\n", "\r\n", "\r\n\r\n", "GET ", "/", " HTTP/1.1\r\n", "HTTP/1.1 101 X\r\n",
            "HTTP/1.0 200\r\n", "HTTP/1.1 100\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n",
            "Upgrade: websocket\r\n", "Connection: Upgrade\r\n", "Sec-WebSocket-Version: 13\r\n",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
            "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n",
            "Sec-WebSocket-Extensions: a; b=\"c\"\r\n", "Sec-WebSocket-Protocol: a, b\r\n",
            "X: ", " y\r\n", "\n", "\r", ":", "Origin: null\r\n", "Content-Length: 0\r\n",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..3),
    ];
    vec(part, 0..14).prop_map(|parts| parts.concat())
}
