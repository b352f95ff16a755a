// The npm package ws, and bytes it would not send, against the examples echo, broadcast, chat and client.

import assert from "node:assert/strict";
import { once } from "node:events";
import { after, before, suite, test as unbounded } from "node:test";
import WebSocket, { WebSocketServer } from "ws";
import { KEY, Raw, frame, request, run, serve } from "./server.mjs";

const LIMIT = 1 << 20; // bytes in a message, the default of the library
const test = (name, body) => unbounded(name, { timeout: 20_000 }, body);

/** A client whose messages can be awaited one by one, from the first on. */
async function open(url, protocols = [], options = {}) {
  const socket = new WebSocket(url, protocols, options);
  const queue = [];
  const waiting = [];
  socket.on("message", (data, binary) => {
    const message = binary ? data : data.toString();
    if (waiting.length) waiting.shift().resolve(message);
    else queue.push(message);
  });
  socket.closed = new Promise((resolve) => {
    socket.on("close", (code, reason) => {
      waiting.forEach(({ reject }) => reject(new Error(`closed with ${code} ${reason}`)));
      resolve({ code, reason: reason.toString() });
    });
  });
  socket.next = () => (queue.length ? queue.shift() : new Promise((resolve, reject) => waiting.push({ resolve, reject })));
  socket.nextJson = async () => JSON.parse(await socket.next());
  await once(socket, "open");
  socket.on("error", () => {});
  return socket;
}

/** The status and headers of the response with which the server refuses an upgrade. */
function refusal(url, ...args) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url, ...args);
    socket.on("unexpected-response", (_, response) => {
      response.resume();
      resolve({ status: response.statusCode, headers: response.headers });
    });
    socket.on("open", () => reject(new Error("the upgrade was accepted")));
    socket.on("error", reject);
  });
}

function textOf(bytes) {
  return "ß".repeat(bytes >> 1) + "x".repeat(bytes & 1);
}

suite("echo", () => {
  let server, url;
  before(async () => {
    server = await serve("echo");
    url = `ws://${server.host}/`;
  });
  after(() => server.stop());

  for (const size of [0, 1, 125, 126, 127, 65535, 65536, LIMIT - 1, LIMIT]) {
    test(`text and binary of ${size} bytes come back as they were`, async () => {
      const socket = await open(url);
      const text = textOf(size);
      socket.send(text);
      assert.ok((await socket.next()) === text);
      const binary = Buffer.from(Array.from({ length: size }, (_, i) => (i * 7) & 255));
      socket.send(binary);
      assert.ok(binary.equals(await socket.next()));
      socket.close();
      await socket.closed;
    });
  }

  test("ten thousand messages in one go come back in order", async () => {
    const socket = await open(url);
    for (let i = 0; i < 10_000; i++) socket.send(`${i}`);
    for (let i = 0; i < 10_000; i++) assert.equal(await socket.next(), `${i}`);
    socket.terminate();
  });

  test("a message in fragments cut inside characters comes back whole", async () => {
    const socket = await open(url);
    const text = "wüst €uro 😀 ".repeat(30);
    for (const byte of Buffer.from(text)) socket.send(Buffer.from([byte]), { binary: false, fin: false });
    socket.send("", { fin: true });
    assert.equal(await socket.next(), text);
    socket.terminate();
  });

  test("a ping between fragments is answered before the message is complete", async () => {
    const socket = await open(url);
    socket.send("half", { fin: false });
    socket.ping("mid");
    const [payload] = await once(socket, "pong");
    assert.equal(payload.toString(), "mid");
    socket.send(" and half", { fin: true });
    assert.equal(await socket.next(), "half and half");
    socket.terminate();
  });

  for (const payload of ["", "x", "p".repeat(125)]) {
    test(`a ping of ${payload.length} bytes is answered with the same bytes`, async () => {
      const socket = await open(url);
      socket.ping(payload);
      assert.equal((await once(socket, "pong"))[0].toString(), payload);
      socket.terminate();
    });
  }

  for (const [code, reason] of [[1000, "done"], [1001, ""], [1011, "ß".repeat(61)], [3000, "x"], [4999, "ende"]]) {
    test(`a close with code ${code} is answered with the code alone`, async () => {
      const socket = await open(url);
      socket.close(code, reason);
      assert.deepEqual(await socket.closed, { code, reason: "" });
    });
  }

  test("a close without a code is answered without a code", async () => {
    const socket = await open(url);
    socket.close();
    assert.deepEqual(await socket.closed, { code: 1005, reason: "" });
  });

  test("a message over the limit is refused with 1009", async () => {
    const socket = await open(url);
    socket.send(Buffer.alloc(LIMIT + 1));
    assert.equal((await socket.closed).code, 1009);
  });

  test("fragments that add up to more than the limit are refused with 1009", async () => {
    const socket = await open(url);
    for (let i = 0; i < 16; i++) socket.send(Buffer.alloc(LIMIT / 16), { fin: false });
    socket.send("x", { fin: true });
    assert.equal((await socket.closed).code, 1009);
  });

  const violations = {
    "an unmasked frame": ["81 02 68 69", 1002],
    "the header of an unmasked frame": ["82 7e 01 2c", 1002],
    "an HTTP request instead of a frame": [Buffer.from("GET / HTTP/1.1\r\n\r\n").toString("hex"), 1002],
    "a reserved bit": ["c1 80 00 00 00 00", 1002],
    "a reserved opcode": ["83 80 00 00 00 00", 1002],
    "a continuation of nothing": ["80 80 00 00 00 00", 1002],
    "a fragmented ping": ["09 80 00 00 00 00", 1002],
    "a length that is not the shortest": ["82 fe 00 05 00 00 00 00 31 32 33 34 35", 1002],
    "a close of one byte": ["88 81 00 00 00 00 03", 1002],
    "a close code that is never sent": ["88 82 00 00 00 00 03 ed", 1002],
    "text that is not UTF-8": ["81 82 00 00 00 00 c3 28", 1007],
    "text that ends inside a character": ["81 82 00 00 00 00 e2 82", 1007],
    "the start of text that can't become UTF-8": ["01 82 00 00 00 00 ed a0", 1007],
    "a close reason that is not UTF-8": ["88 83 00 00 00 00 03 e8 ff", 1007],
    "an announced length of 8 EiB": ["82 ff 7f ff ff ff ff ff ff ff 00 00 00 00", 1009],
  };
  for (const [what, [bytes, code]] of Object.entries(violations)) {
    test(`${what} is answered with close ${code} and FIN`, async () => {
      const raw = await Raw.connect(server.port);
      raw.write(request(server.port));
      assert.match((await raw.until("\r\n\r\n")).toString(), /^HTTP\/1\.1 101 /);
      // What follows the violation must be neither read nor answered.
      raw.write(Buffer.from(bytes.replaceAll(" ", ""), "hex"), frame(0x89, "after"));
      const answer = await raw.rest();
      assert.equal(answer[0], 0x88);
      assert.equal(answer.length, 2 + answer[1], "one unmasked Close frame and nothing else");
      assert.equal(answer.readUInt16BE(2), code);
      raw.socket.destroy();
    });
  }

  test("a close is read although much that was never looked at is on its way", async () => {
    const raw = await Raw.connect(server.port);
    raw.write(request(server.port));
    await raw.until("\r\n\r\n");
    raw.write(frame(0x83), ...Array(8).fill(Buffer.alloc(LIMIT / 2, "x")));
    const answer = await raw.rest();
    assert.deepEqual([answer[0], answer.length, answer.readUInt16BE(2)], [0x88, 2 + answer[1], 1002]);
    raw.socket.destroy();
  });

  test("a client that sends much before it reads gets everything back", async () => {
    const socket = await open(url);
    socket.pause();
    const messages = Array.from({ length: 200 }, (_, i) => Buffer.alloc(100_000, i));
    messages.forEach((message) => socket.send(message));
    socket.resume();
    for (const message of messages) assert.ok(message.equals(await socket.next()));
    socket.terminate();
  });

  test("after the closing handshake the server is the one that ends the connection", async () => {
    const raw = await Raw.connect(server.port);
    raw.write(request(server.port), frame(0x88, Buffer.from([3, 232])));
    await raw.until("\r\n\r\n");
    assert.equal((await raw.rest()).toString("hex"), "880203e8");
    raw.socket.destroy();
  });

  test("frames in the same packet as the request are answered", async () => {
    const raw = await Raw.connect(server.port);
    raw.write(Buffer.concat([Buffer.from(request(server.port)), frame(0x81, "early"), frame(0x89, "ping")]));
    const head = (await raw.until("\r\n\r\n")).toString();
    assert.match(head, /^sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=\r$/im, `for the key ${KEY}`);
    assert.equal((await raw.take(13)).toString("latin1"), "\x81\x05early\x8a\x04ping");
    raw.socket.destroy();
  });

  test("a request and a frame that come byte by byte are served", async () => {
    const raw = await Raw.connect(server.port);
    raw.socket.setNoDelay(true);
    for (const byte of Buffer.concat([Buffer.from(request(server.port)), frame(0x81, "slow")])) {
      raw.write(Buffer.from([byte]));
      await new Promise(setImmediate);
    }
    await raw.until("\r\n\r\n");
    assert.equal((await raw.take(6)).toString("latin1"), "\x81\x04slow");
    raw.socket.destroy();
  });

  const refusals = {
    "a key that is not 16 bytes": [{ "Sec-WebSocket-Key": "c2hvcnQ=" }, undefined, 400],
    "a request without a key": [{ "Sec-WebSocket-Key": null }, undefined, 400],
    "version 8": [{ "Sec-WebSocket-Version": "8" }, undefined, 426, /^sec-websocket-version: 13\r$/im],
    "a plain GET": [
      { Upgrade: null, Connection: null, "Sec-WebSocket-Key": null, "Sec-WebSocket-Version": null },
      undefined, 426, /^upgrade: websocket\r$/im,
    ],
    "a POST": [{}, "POST / HTTP/1.1", 405, /^allow: GET\r$/im],
  };
  for (const [what, [edits, line, status, field]] of Object.entries(refusals)) {
    test(`${what} is refused with ${status} and the connection ended`, async () => {
      const raw = await Raw.connect(server.port);
      raw.write(request(server.port, edits, line));
      const head = (await raw.until("\r\n\r\n")).toString();
      assert.match(head, new RegExp(`^HTTP/1\\.1 ${status} `));
      if (field) assert.match(head, field);
      await raw.rest();
      raw.socket.destroy();
    });
  }
});

suite("broadcast", () => {
  test("each message reaches all others once and in order, and never its sender", async () => {
    const CLIENTS = 20, ROUNDS = 20, BURST = 5;
    const server = await serve("broadcast");
    const sockets = await Promise.all(Array.from({ length: CLIENTS }, () => open(`ws://${server.host}/`)));

    // An upgraded connection may not be in the room yet: one that hears the others and is heard by them is.
    const [caller, ...others] = sockets;
    let silent = others.length;
    others.forEach((socket) => socket.once("message", () => (silent -= 1)));
    while (silent > 0) {
      caller.send("hello");
      caller.ping();
      await once(caller, "pong");
    }
    others.forEach((socket) => socket.send("ready"));
    for (const socket of sockets) {
      for (let ready = socket === caller ? CLIENTS - 1 : CLIENTS - 2; ready > 0;) {
        if ((await socket.next()) === "ready") ready -= 1;
      }
    }

    // In bursts, so that no client counts as slow while this one process reads for all of them.
    const next = sockets.map(() => new Array(CLIENTS).fill(0));
    for (let round = 0; round < ROUNDS; round++) {
      sockets.forEach((socket, from) => {
        for (let n = round * BURST; n < (round + 1) * BURST; n++) socket.send(`${from} ${n}`);
      });
      for (const [at, socket] of sockets.entries()) {
        for (let i = 0; i < (CLIENTS - 1) * BURST; i++) {
          const [from, n] = (await socket.next()).split(" ").map(Number);
          assert.notEqual(from, at, "a sender does not hear itself");
          assert.equal(n, next[at][from]++, `messages of ${from} at ${at}`);
        }
      }
    }
    sockets.forEach((socket) => socket.terminate());
    await server.stop();
  });
});

suite("chat", () => {
  let server, base;
  before(async () => {
    server = await serve("chat");
    base = `ws://${server.host}`;
  });
  after(() => server.stop());

  test("the welcome comes first, with members and history", async () => {
    const ada = await open(`${base}/ws/tea?name=%20Ada%20`);
    const first = await ada.nextJson();
    assert.deepEqual(first, { type: "welcome", id: first.id, name: "Ada", room: "tea",
      members: [{ id: first.id, name: "Ada" }], history: [] });
    assert.equal(typeof first.id, "string");
    ada.send(JSON.stringify({ type: "message", text: "<b>hi</b> 😀" }));
    const message = await ada.nextJson();
    assert.deepEqual(message, { type: "message", from: first.id, name: "Ada", text: "<b>hi</b> 😀", at: message.at });
    assert.ok(Math.abs(message.at - Date.now()) < 10_000, "at is in Unix milliseconds");

    const bob = await open(`${base}/ws/tea?name=Bob`);
    const welcome = await bob.nextJson();
    assert.deepEqual(welcome.members.map(({ name }) => name).sort(), ["Ada", "Bob"]);
    assert.deepEqual(welcome.history, [message]);
    assert.deepEqual(await ada.nextJson(), { type: "joined", id: welcome.id, name: "Bob" });
    bob.close();
    assert.deepEqual(await ada.nextJson(), { type: "left", id: welcome.id, name: "Bob" });
    ada.terminate();
  });

  for (const [what, sent] of Object.entries({
    "invalid JSON": "{not json",
    "JSON that is no object": "[1,2]",
    "an unknown type": '{"type":"fly"}',
    "a message without text": '{"type":"message"}',
    "an empty text": '{"type":"message","text":""}',
    "a text over the limit": JSON.stringify({ type: "message", text: "x".repeat(4001) }),
    "a binary message": Buffer.from([0, 255]),
  })) {
    test(`${what} is answered with an error and the connection lives`, async () => {
      const socket = await open(`${base}/ws/errors?name=Eve`);
      await socket.nextJson();
      socket.send(sent);
      const answer = await socket.nextJson();
      assert.equal(answer.type, "error");
      assert.equal(typeof answer.error, "string");
      socket.send('{"type":"ping","n":12}');
      assert.deepEqual(await socket.nextJson(), { type: "pong", n: 12 });
      socket.close();
      await socket.closed;
    });
  }

  test("the longest text and the longest name are taken", async () => {
    const socket = await open(`${base}/ws/long?name=${encodeURIComponent("ß".repeat(32))}`);
    assert.equal((await socket.nextJson()).name, "ß".repeat(32));
    socket.send(JSON.stringify({ type: "message", text: "ß".repeat(4000) }));
    assert.equal((await socket.nextJson()).text, "ß".repeat(4000));
    socket.terminate();
  });

  for (const [what, path] of Object.entries({
    "no name": "/ws/tea",
    "a blank name": "/ws/tea?name=%20%20",
    "a name of 33 characters": `/ws/tea?name=${"x".repeat(33)}`,
    "a room with a dot": "/ws/a.b?name=Ada",
    "a room of 65 characters": `/ws/${"r".repeat(65)}?name=Ada`,
    "/echo without a subprotocol": "/echo",
  })) {
    test(`${what} is refused with 400 before the upgrade`, async () => {
      assert.equal((await refusal(base + path)).status, 400);
    });
  }

  test("who does not keep up is told so with 1013 as soon as it reads again, and holds up nobody", async () => {
    const slow = await open(`${base}/ws/flood?name=Slow`);
    const fast = await open(`${base}/ws/flood?name=Fast`);
    slow.pause();
    const text = "x".repeat(4000);
    await fast.nextJson();
    // More than the buffers of the system and of the server hold, in bursts that Fast keeps up with.
    for (let burst = 0; burst < 60; burst++) {
      for (let n = 0; n < 50; n++) fast.send(JSON.stringify({ type: "message", text }));
      for (let n = 0; n < 50; n++) assert.equal((await fast.nextJson()).text, text);
    }
    slow.resume();
    assert.equal((await slow.closed).code, 1013);
    assert.equal((await fast.nextJson()).type, "left");
    fast.terminate();
  });

  test("the end of the server waits for nobody who does not answer", async () => {
    const ending = await serve("chat");
    const ada = await open(`ws://${ending.host}/ws/tea?name=Ada`);
    const half = await Raw.connect(ending.port);
    half.write("GET / HTTP/1.1\r\nHost: ");
    const mute = await Raw.connect(ending.port);
    mute.write(request(ending.port, {}, "GET /ws/tea?name=Mute HTTP/1.1"));
    await mute.until("welcome");
    assert.deepEqual(await ending.stop("SIGINT"), { code: 0, signal: null });
    assert.equal((await ada.closed).code, 1001);
    for (const raw of [half, mute]) raw.socket.destroy();
  });

  test("/echo agrees on its subprotocol among others, and echoes text and binary", async () => {
    const socket = await open(`${base}/echo`, ["chat", "echo"]);
    assert.equal(socket.protocol, "echo");
    socket.send("text");
    assert.equal(await socket.next(), "text");
    socket.send(Buffer.from([1, 2, 255]));
    assert.deepEqual(await socket.next(), Buffer.from([1, 2, 255]));
    socket.close(4000, "bye");
    assert.equal((await socket.closed).code, 4000);
  });

  test("/echo refuses another subprotocol with 400", async () => {
    assert.equal((await refusal(`${base}/echo`, ["chat"])).status, 400);
  });
});

suite("client against a ws server", () => {
  let server, url;
  before(async () => {
    server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
    await once(server, "listening");
    url = `ws://127.0.0.1:${server.address().port}/`;
  });
  after(() => server.close());

  test("lines are sent and replies shown", async () => {
    server.once("connection", (socket) => socket.on("message", (data) => socket.send(`you said ${data}`)));
    const client = run("client", url);
    client.child.stdin.write("grüße\n");
    await client.line(/you said grüße/);
    client.child.stdin.write("again\n");
    await client.line(/you said again/);
    await client.stop();
  });

  test("the end of the input closes with 1000 and ends the program", async () => {
    const closed = new Promise((resolve) => server.once("connection", (socket) => socket.on("close", resolve)));
    const client = run("client", url);
    client.child.stdin.end("last words\n");
    assert.equal(await closed, 1000);
    assert.equal((await client.ended).code, 0);
    assert.match(client.lines.join("\n"), /\b1000\b/);
  });

  test("the close code and reason of the server are shown", async () => {
    server.once("connection", (socket) => socket.close(4321, "closing time"));
    const client = run("client", url);
    await client.ended;
    assert.match(client.lines.join("\n"), /\b4321\b.*closing time/s);
  });

  test("a server that is gone ends the program, whose input is still open", async () => {
    server.once("connection", (socket) => socket.terminate());
    const client = run("client", url);
    assert.equal((await client.ended).code, 1);
    assert.match(client.lines.join("\n"), /\b1006\b/);
  });

  test("fragments and pings of the server are dealt with", async () => {
    const ponged = new Promise((resolve) => {
      server.once("connection", (socket) => {
        socket.on("pong", (payload) => resolve(payload.toString()));
        socket.send("one ", { fin: false });
        socket.ping("between");
        socket.send("message", { fin: true });
      });
    });
    const client = run("client", url);
    assert.equal(await ponged, "between");
    await client.line(/one message/);
    await client.stop();
  });
});
