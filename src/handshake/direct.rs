//! The short way of a server that looks at nothing: from the bytes of a request to those of its
//! answer.
//!
//! It does what [`RequestHead`], [`Upgrade::accept`] and [`encode_accepted`] do in a row, with the
//! same checks. The maps of headers that stand between those take a third of the instructions.
//!
//! [`RequestHead`]: crate::handshake::RequestHead
//! [`encode_accepted`]: crate::handshake::encode_accepted

use bytes::{BufMut as _, Bytes, BytesMut};
use http::HeaderName;

use crate::agreed::Agreed;
use crate::handshake::headers::Fields;
use crate::handshake::http1::{CONTINUE, names_continue, put_field, with_request};
use crate::handshake::scan::Head;
use crate::handshake::{HandshakeError, Upgrade};

impl Upgrade {
    /// Judges a request and gives the bytes that answer it, with what was agreed on.
    pub(crate) fn answer(&self, head: &Head) -> Result<(Bytes, Agreed), HandshakeError> {
        with_request(head, |request| {
            let (parts, fields) = request.into_parts();
            let judged = self.judge(parts.version, &parts.method, &parts.uri, fields)?;
            let mut output = BytesMut::with_capacity(256);
            if names_continue(fields) {
                output.put_slice(CONTINUE);
            }
            output.put_slice(ACCEPTED);
            output.put_slice(judged.accept.as_bytes());
            if let Some(protocol) = judged.protocol {
                output.put_slice(b"\r\nSec-WebSocket-Protocol: ");
                output.put_slice(protocol.as_bytes());
            }
            if let Some((chosen, _)) = &judged.deflate {
                output.put_slice(b"\r\nSec-WebSocket-Extensions: ");
                output.put_slice(chosen.as_bytes());
            }
            output.put_slice(b"\r\n");
            for (name, value) in &self.settings.headers {
                put_field(&mut output, name, value);
            }
            output.put_slice(b"\r\n");
            Ok((output.freeze(), judged.agreed()))
        })
    }
}

const ACCEPTED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\n\
    Upgrade: websocket\r\n\
    Connection: Upgrade\r\n\
    Sec-WebSocket-Accept: ";

impl Fields for [httparse::Header<'_>] {
    fn values(&self, name: &HeaderName) -> impl Iterator<Item = &[u8]> {
        self.iter()
            .filter(|field| field.name.eq_ignore_ascii_case(name.as_str()))
            .map(|field| field.value)
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;
    use crate::handshake::{RequestHead, encode_accepted};

    const STARTS: [&str; 6] = [
        "GET / HTTP/1.1",
        "GET http://a/b?c HTTP/1.1",
        "GET ftp://a/ HTTP/1.1",
        "GET a HTTP/1.1",
        "GET / HTTP/1.0",
        "POST / HTTP/1.1",
    ];

    const REQUIRED: &str = "Host: a\r\nUPGRADE: WebSocket\r\nconnection: keep-alive, Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

    const MORE: [&str; 17] = [
        "",
        "Expect: 100-Continue\r\n",
        "Sec-WebSocket-Protocol: a ,c\r\nsec-websocket-protocol:\tb\r\n",
        "Sec-WebSocket-Protocol: a, a\r\n",
        "Sec-WebSocket-Protocol:\r\n",
        "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=12\r\n",
        "Sec-WebSocket-Extensions: \u{e9}\r\n",
        "Sec-WebSocket-Extensions:  \r\n",
        "Origin: http://a\r\n",
        "Origin: http://b\r\n",
        "Host: a\r\n",
        "Upgrade: a b\r\n",
        "Sec-WebSocket-Version: 13\r\n",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        "Content-Length: 0\r\n",
        "Content-Length: 1\r\n",
        "Transfer-Encoding: chunked\r\n",
    ];

    fn upgrades() -> [Upgrade; 2] {
        let strict = Upgrade::default()
            .protocols(["b", "a"])
            .same_origin()
            .header("Set-Cookie", "a=1")
            .header("X-Other", "2")
            .header("Set-Cookie", "b=3");
        [Upgrade::default(), strict]
    }

    /// What either way makes of a request, nothing while it is not whole; an error as it is shown.
    fn both_ways(
        upgrade: &Upgrade,
        request: &[u8],
    ) -> [Result<Option<(Bytes, Agreed)>, String>; 2] {
        let head = || RequestHead::new(upgrade);
        let short = head().receive_head(&mut &request[..]);
        let short = short.and_then(|head| head.map(|head| upgrade.answer(&head)).transpose());
        let long = head().receive(&mut &request[..]).and_then(|request| {
            let Some(request) = request else {
                return Ok(None);
            };
            let (response, agreed) = upgrade.accept(&request)?;
            Ok(Some((encode_accepted(&request, &response), agreed)))
        });
        [short, long].map(|result| result.map_err(|error| format!("{error:?}")))
    }

    #[test]
    fn the_short_way_answers_as_the_long_one_does() {
        let mut accepted = 0;
        for start in STARTS {
            for more in MORE {
                for required in [REQUIRED, &REQUIRED.replace("UPGRADE", "X")] {
                    for upgrade in upgrades() {
                        let request = format!("{start}\r\n{required}{more}\r\n");
                        let [short, long] = both_ways(&upgrade, request.as_bytes());
                        assert_eq!(short, long, "{request}");
                        accepted += usize::from(short.is_ok());
                    }
                }
            }
        }
        assert!(accepted > 20, "{accepted}");
    }

    #[test]
    fn the_short_way_answers_requests_with_wrong_bytes_as_the_long_one_does() {
        let upgrades = upgrades();
        let mut accepted = 0;
        for seed in 0..20_000 {
            let mut random = StdRng::seed_from_u64(seed);
            let more = MORE[random.random_range(0..MORE.len())];
            let mut request = format!("{}\r\n{REQUIRED}{more}\r\n", STARTS[0]).into_bytes();
            for _ in 0..random.random_range(1..3) {
                let at = random.random_range(0..request.len());
                match random.random_range(0..3) {
                    0 => request[at] = random.random(),
                    1 => drop(request.remove(at)),
                    _ => request.insert(at, b" \t\r\n,;=\"a"[random.random_range(0..9)]),
                }
            }
            let [short, long] = both_ways(&upgrades[random.random_range(0..2)], &request);
            assert_eq!(short, long, "seed {seed}, {}", request.escape_ascii());
            accepted += usize::from(matches!(short, Ok(Some(_))));
        }
        assert!(accepted > 1000, "{accepted}");
    }
}
