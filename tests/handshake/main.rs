//! The opening handshake (RFC 6455 §3, §4, §10) by section. Ids are those of the rules: U for the
//! request of a client, A for the response it accepts, S for the request a server accepts, W for
//! the response it sends.

mod client;
mod heads;
mod server;

use http::header::HeaderValue;
use http::{Request, Response};
use wsroom::handshake::{Offer, Upgrade};

/// The nonce of the example in §1.3.
const NONCE: [u8; 16] = *b"the sample nonce";

/// The example request of §1.2 without its subprotocols and Origin.
fn request() -> Request<()> {
    Request::get("/chat")
        .header("Host", "server.example.com")
        .header("Upgrade", "websocket")
        .header("Connection", "Upgrade")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("Sec-WebSocket-Version", "13")
        .body(())
        .unwrap()
}

fn offer_of<const N: usize>(protocols: [&str; N]) -> Offer {
    let upgrade = Upgrade::default().protocols(protocols);
    upgrade
        .offer_with_nonce("ws://server.example.com/chat", NONCE)
        .unwrap()
}

/// A valid 101 to [`NONCE`], with some headers replaced.
fn switching(headers: &[(&'static str, &'static str)]) -> Response<()> {
    let mut response = Response::builder()
        .status(101)
        .header("Upgrade", "websocket")
        .header("Connection", "Upgrade")
        .header("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
        .body(())
        .unwrap();
    for (name, value) in headers {
        response
            .headers_mut()
            .insert(*name, HeaderValue::from_static(value));
    }
    response
}

fn status_of(upgrade: &Upgrade, request: &Request<()>) -> u16 {
    match upgrade.accept(request) {
        Ok((response, _)) => response.status().as_u16(),
        Err(fault) => fault.status().as_u16(),
    }
}
