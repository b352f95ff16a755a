//! The opening handshake from bytes to bytes, on both sides.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use wsroom::Upgrade;
use wsroom::handshake::{RequestHead, ResponseHead, encode_accepted};

fn server(c: &mut Criterion) {
    let upgrade = Upgrade::default().protocols(["chat"]);
    let mut group = c.benchmark_group("handshake_server");
    group.throughput(Throughput::Elements(1));
    for (name, request) in [("rfc", RFC_REQUEST), ("browser", BROWSER_REQUEST)] {
        let request = request.replace('\n', "\r\n");
        group.bench_function(name, |b| {
            b.iter(|| {
                let mut input = black_box(request.as_bytes());
                let head = RequestHead::new(&upgrade).receive(&mut input);
                let request = head.expect("it is legal").expect("it is whole");
                let (response, agreed) = upgrade.accept(&request).expect("it is legal");
                (encode_accepted(&request, &response), agreed)
            });
        });
    }
}

fn client(c: &mut Criterion) {
    let upgrade = Upgrade::default().protocols(["chat"]);
    let mut group = c.benchmark_group("handshake_client");
    group.throughput(Throughput::Elements(1));
    group.bench_function("offer", |b| {
        b.iter(|| {
            let offer = upgrade.offer(black_box("ws://server.example.com/chat"));
            offer.expect("the URL is legal").encode()
        });
    });
    let nonce = *b"the sample nonce";
    let offer = upgrade
        .offer_with_nonce("ws://server.example.com/chat", nonce)
        .expect("the URL is legal");
    let response = RESPONSE.replace('\n', "\r\n");
    group.bench_function("verify", |b| {
        b.iter(|| {
            let mut input = black_box(response.as_bytes());
            let head = ResponseHead::new(&upgrade).receive(&mut input);
            let response = head.expect("it is legal").expect("it is whole");
            offer.verify(&response).expect("it answers the offer")
        });
    });
}

/// §1.2.
const RFC_REQUEST: &str = "\
GET /chat HTTP/1.1
Host: server.example.com
Upgrade: websocket
Connection: Upgrade
Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==
Origin: http://example.com
Sec-WebSocket-Protocol: chat, superchat
Sec-WebSocket-Version: 13

";

/// With the headers that a browser adds.
const BROWSER_REQUEST: &str = "\
GET /rooms/lobby?name=alice HTTP/1.1
Host: chat.example.com:8181
Connection: Upgrade
Pragma: no-cache
Cache-Control: no-cache
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36
Upgrade: websocket
Origin: https://chat.example.com:8181
Sec-WebSocket-Version: 13
Accept-Encoding: gzip, deflate, br, zstd
Accept-Language: en-US,en;q=0.9,de;q=0.8
Cookie: session=0123456789abcdef0123456789abcdef; theme=dark
Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==
Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits
Sec-WebSocket-Protocol: chat

";

const RESPONSE: &str = "\
HTTP/1.1 101 Switching Protocols
Upgrade: websocket
Connection: Upgrade
Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=
Sec-WebSocket-Protocol: chat

";

criterion_group!(benches, server, client);
criterion_main!(benches);
