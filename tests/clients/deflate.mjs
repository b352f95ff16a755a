// permessage-deflate: the npm package ws, Chromium, and bytes that neither would send, against deflate_peer.

import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { after, before, suite, test as unbounded } from "node:test";
import { constants, deflateRawSync } from "node:zlib";
import { chromium } from "playwright-core";
import WebSocket, { WebSocketServer } from "ws";
import { Raw, frame, listening, request, run } from "./server.mjs";

const LIMIT = 1 << 20; // bytes in a message, the default of the library
const MEMORY = 40 << 10; // KiB that no peer can make a server with one connection use
const test = (name, body) => unbounded(name, { timeout: 60_000 }, body);

/** Every wish of one side: windows of both sides, and whether each keeps its context. */
const WISHES = [undefined, 9, 12, 15].flatMap((bits) =>
  [[false, false], [true, false], [false, true], [true, true]].map(([server, client]) => ({ bits, server, client })));

const name = ({ bits, server, client }) =>
  [`windows of ${bits ?? "any"} bits`, server && "no server context", client && "no client context"]
    .filter(Boolean).join(", ");

/** The options of ws for a wish. */
const wsOptions = ({ bits, server, client }) => ({
  threshold: 0,
  ...(bits && { serverMaxWindowBits: bits, clientMaxWindowBits: bits }),
  ...(server && { serverNoContextTakeover: true }),
  ...(client && { clientNoContextTakeover: true }),
});

/** The options of deflate_peer for a wish. */
const peerOptions = ({ bits, server, client }) => [
  ...(bits ? ["--server-max-window-bits", bits, "--client-max-window-bits", bits] : []),
  ...(server ? ["--server-no-context-takeover"] : []),
  ...(client ? ["--client-no-context-takeover"] : []),
];

const serve = (wish = {}) => listening(run("deflate_peer", "serve", 0, ...peerOptions(wish)));

/** The answer to a wish; the largest window need not be named. */
const answer = ({ bits, server, client }, { namesServer15 = false, namesClient15 = false } = {}) => [
  "permessage-deflate",
  ...(server ? ["server_no_context_takeover"] : []),
  ...(client ? ["client_no_context_takeover"] : []),
  ...(bits < 15 || (bits && namesServer15) ? [`server_max_window_bits=${bits}`] : []),
  ...(bits < 15 || (bits && namesClient15) ? [`client_max_window_bits=${bits}`] : []),
].sort();

const params = (header) => (header ?? "none").split(";").map((param) => param.trim()).sort();

/** Bytes that do not compress, the same in every run. */
function noise(size, seed) {
  let state = seed + 1;
  return Buffer.from(Array.from({ length: size }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state >>> 24;
  }));
}

const prose = (size) =>
  Array.from(noise(size / 4, 7), (n) => ["room ", "grüße ", "member ", "of ", "the ", "window "][n % 6]).join("");

/** A ws client; `talk` sends one message, takes its echo, and says how many bytes that was in each direction. */
async function open(url, perMessageDeflate) {
  const socket = new WebSocket(url, { perMessageDeflate });
  const upgraded = once(socket, "upgrade");
  await once(socket, "open");
  const [response] = await upgraded;
  const wire = response.socket;
  async function talk(...pieces) {
    const [sent, received] = [wire.bytesWritten, wire.bytesRead];
    const echo = once(socket, "message");
    pieces.forEach((piece, i) => socket.send(piece, { fin: i === pieces.length - 1 }));
    const [data, binary] = await echo;
    const whole = Buffer.concat(pieces.map((piece) => Buffer.from(piece)));
    assert.ok(whole.equals(data), `${whole.length} bytes come back as they were`);
    assert.equal(binary, typeof pieces[0] !== "string");
    return { sent: wire.bytesWritten - sent, received: wire.bytesRead - received };
  }
  return { socket, talk, agreed: response.headers["sec-websocket-extensions"] };
}

/** Messages of all kinds through a connection that compresses as wished. */
async function exercise({ talk }, { server, client }) {
  for (const size of [0, 1, 125, 126, 65535, 65536, 300_000]) {
    await talk(noise(size, size));
    await talk("x".repeat(size));
  }
  const text = prose(100_000);
  for (const pieces of [[text], text.match(/.{1,9000}/gsu)]) {
    const { sent, received } = await talk(...pieces);
    assert.ok(sent < text.length / 2, `${sent} bytes sent for ${text.length}`);
    assert.ok(received < text.length / 2, `${received} bytes received for ${text.length}`);
  }
  // What was sent before is in reach of the smallest window, so it costs a few bytes, or all of them.
  const message = noise(200, 1);
  const first = await talk(message);
  assert.ok(first.sent >= 200 && first.received >= 200, "it does not compress by itself");
  for (let n = 0; n < 5; n++) {
    const { sent, received } = await talk(message);
    assert.equal(sent < 50, !client, `${sent} bytes sent for 200 that were sent before`);
    assert.equal(received < 50, !server, `${received} bytes received for 200 that were received before`);
  }
}

suite("ws as client", () => {
  for (const wish of WISHES) {
    test(`the server wants ${name(wish)}`, async () => {
      const server = await serve(wish);
      const client = await open(`ws://${server.host}/`, wsOptions({}));
      assert.deepEqual(params(client.agreed), answer(wish));
      await exercise(client, wish);
      client.socket.close();
      assert.equal((await once(client.socket, "close"))[0], 1005);
      await server.stop();
    });

    test(`the client wants ${name(wish)}`, async () => {
      const server = await serve();
      const client = await open(`ws://${server.host}/`, wsOptions(wish));
      assert.deepEqual(params(client.agreed), answer(wish, { namesServer15: true }));
      await exercise(client, wish);
      client.socket.terminate();
      await server.stop();
    });
  }

  test("a client window of 8 bits is agreed on, and what zlib makes of it is inflated", async () => {
    const server = await serve();
    const client = await open(`ws://${server.host}/`, { threshold: 0, clientMaxWindowBits: 8 });
    assert.deepEqual(params(client.agreed), ["client_max_window_bits=8", "permessage-deflate"]);
    await exercise(client, {});
    client.socket.terminate();
    await server.stop();
  });

  test("a server window of 8 bits is declined, and messages go uncompressed", async () => {
    const server = await serve();
    const client = await open(`ws://${server.host}/`, { threshold: 0, serverMaxWindowBits: 8 });
    assert.equal(client.agreed, undefined);
    const { sent, received } = await client.talk("x".repeat(1000));
    assert.ok(sent > 1000 && received > 1000);
    client.socket.terminate();
    await server.stop();
  });

  test("a hundred messages on their way at once come back in order", async () => {
    const server = await serve();
    const { socket } = await open(`ws://${server.host}/`, wsOptions({}));
    const texts = Array.from({ length: 100 }, (_, n) => prose(n * 100) + n);
    const received = [];
    const all = new Promise((resolve) => {
      socket.on("message", (data) => received.push(data.toString()) === texts.length && resolve());
    });
    texts.forEach((text) => socket.send(text));
    await all;
    assert.deepEqual(received, texts);
    socket.terminate();
    await server.stop();
  });
});

suite("ws as server", () => {
  /** Runs deflate_peer against an echo server of ws: what was agreed, and the bytes in each direction. */
  async function serveFor(perMessageDeflate, options) {
    const server = new WebSocketServer({ port: 0, host: "127.0.0.1", perMessageDeflate });
    await once(server, "listening");
    const counted = new Promise((resolve) => {
      server.on("connection", (socket, { socket: wire }) => {
        socket.on("message", (data, binary) => socket.send(data, { binary }));
        socket.on("close", () => resolve({ sent: wire.bytesRead, received: wire.bytesWritten }));
      });
    });
    const client = run("deflate_peer", "connect", `ws://127.0.0.1:${server.address().port}/`, ...options);
    const { code } = await client.ended;
    const said = client.lines.join("\n");
    server.close();
    assert.equal(code, 0, said);
    assert.match(said, /^192 messages ok$/m);
    return { agreed: params(/^agreed: (.*)$/m.exec(said)[1]), ...(await counted) };
  }

  // Of each size one text and one binary that compress well and two that do not, each twice.
  const PAYLOAD = 8 * (1 + 125 + 126 + 65535 + 65536 + 300_000);
  // Of 40 messages of 200 bytes that were sent just before, most is saved by the smallest context.
  const SAVED = 5_000;

  for (const [side, run] of Object.entries({
    server: async (wish) => [await serveFor(wsOptions(wish), []), { namesServer15: true, namesClient15: true }],
    client: async (wish) => [await serveFor(wsOptions({}), peerOptions(wish)), {}],
  })) {
    for (const bits of [undefined, 9, 12, 15]) {
      test(`the ${side} wants ${name({ bits })}, with each choice of contexts`, async () => {
        let both;
        for (const wish of WISHES.filter((wish) => wish.bits === bits)) {
          const [{ agreed, sent, received }, names] = await run(wish);
          assert.deepEqual(agreed, answer(wish, names));
          assert.ok(sent < PAYLOAD * 0.65, `${sent} bytes sent for ${PAYLOAD}`);
          assert.ok(received < PAYLOAD * 0.65, `${received} bytes received for ${PAYLOAD}`);
          both ??= { sent, received };
          assert.equal(sent > both.sent + SAVED, wish.client, `${sent} bytes sent, with both contexts ${both.sent}`);
          assert.equal(received > both.received + SAVED, wish.server,
            `${received} bytes received, with both contexts ${both.received}`);
        }
      });
    }
  }

  test("a server that does not compress is found out", async () => {
    await assert.rejects(serveFor(false, []), /no compression/);
  });
});

suite("bytes that no client would send", () => {
  let server;
  before(async () => (server = await serve()));
  after(() => server.stop());

  /** A connection after the upgrade, and the header of what was agreed on. */
  async function upgrade(offer) {
    const raw = await Raw.connect(server.port);
    raw.write(request(server.port, { "Sec-WebSocket-Extensions": offer }));
    const head = (await raw.until("\r\n\r\n")).toString();
    assert.match(head, /^HTTP\/1\.1 101 /);
    return { raw, agreed: /^sec-websocket-extensions: (.*)\r$/im.exec(head)?.[1] };
  }

  async function assertCloses(raw, code) {
    const answer = await raw.rest();
    assert.equal(answer[0], 0x88);
    assert.equal(answer.length, 2 + answer[1], "one Close frame and nothing else");
    assert.equal(answer.readUInt16BE(2), code);
    raw.socket.destroy();
  }

  /** A message as §7.2.1 of RFC 7692 has it. */
  const compressed = (bytes) =>
    deflateRawSync(bytes, { finishFlush: constants.Z_SYNC_FLUSH }).subarray(0, -4);
  const hex = (text) => Buffer.from(text.replaceAll(" ", ""), "hex");

  const violations = {
    "RSV1 without an agreement": [null, [frame(0xc1, hex("f2 48 cd c9 c9 07 00"))], 1002],
    "RSV2": ["permessage-deflate", [frame(0xa1, "x")], 1002],
    "RSV1 on a ping": ["permessage-deflate", [frame(0xc9, "x")], 1002],
    "RSV1 on a continuation": ["permessage-deflate", [frame(0x41, hex("f2 48")), frame(0xc0, hex("cd"))], 1002],
    "a block of a reserved type": ["permessage-deflate", [frame(0xc2, hex("ff ff"))], 1007],
    "a message cut inside a block": ["permessage-deflate", [frame(0xc1, hex("f2 48 cd"))], 1007],
    "a distance into a message before": [
      "permessage-deflate; client_no_context_takeover",
      // §7.2.3.2: what means "Hello" only behind a "Hello".
      [frame(0xc1, hex("f2 48 cd c9 c9 07 00")), frame(0xc1, hex("f2 00 11 00 00"))], 1007, "Hello",
    ],
    "text that inflates to what is not UTF-8": ["permessage-deflate", [frame(0xc1, compressed(hex("c3 28")))], 1007],
    "a message one byte over the limit": [
      "permessage-deflate", [frame(0xc2, compressed(Buffer.alloc(LIMIT + 1)))], 1009,
    ],
  };
  for (const [what, [offer, frames, code, echo]] of Object.entries(violations)) {
    test(`${what} is answered with close ${code} and FIN`, async () => {
      const { raw, agreed } = await upgrade(offer);
      assert.equal(agreed, offer ?? undefined);
      raw.write(...frames);
      if (echo) await raw.take(2 + compressed(echo).length);
      await assertCloses(raw, code);
    });
  }

  test("a hundred megabytes in a hundred kilobytes are refused with 1009, and never held", async () => {
    const bomb = compressed(Buffer.alloc(100 << 20));
    assert.ok(bomb.length < 200_000);
    const fragments = [frame(0x42, bomb.subarray(0, 10))];
    for (let at = 10; at < bomb.length; at += 100) fragments.push(frame(0, bomb.subarray(at, at + 100)));
    for (const frames of [[frame(0xc2, bomb)], fragments]) {
      const { raw } = await upgrade("permessage-deflate");
      raw.write(...frames);
      await assertCloses(raw, 1009);
    }
    const status = readFileSync(`/proc/${server.child.pid}/status`, "utf8");
    const peak = Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)[1]);
    assert.ok(peak < MEMORY, `${peak} KiB at most`);
  });

  for (const offer of [
    "permessage-deflate; unknown", "permessage-deflate; server_max_window_bits", "x-webkit-deflate-frame",
    "permessage-deflate; client_max_window_bits=7", "permessage-deflate; server_no_context_takeover=1",
  ]) {
    test(`${offer} is declined and the next offer taken`, async () => {
      const alone = await upgrade(offer);
      assert.equal(alone.agreed, undefined);
      alone.raw.write(frame(0x81, "plain"));
      assert.equal((await alone.raw.take(7)).toString("latin1"), "\x81\x05plain");
      alone.raw.socket.destroy();
      const { raw, agreed } = await upgrade(`${offer}, permessage-deflate; server_max_window_bits="10"`);
      assert.equal(agreed, "permessage-deflate; server_max_window_bits=10");
      raw.socket.destroy();
    });
  }
});

suite("Chromium", () => {
  let browser;
  before(async () => {
    browser = await chromium.launch({
      executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
      args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync"],
    });
  });
  after(() => browser?.close());

  /** Runs in the page: sends texts and binaries (as arrays) one after the other, each twice, and compares. */
  const talk = ([host, messages]) => new Promise((resolve) => {
    const socket = new WebSocket(`ws://${host}/`);
    socket.binaryType = "arraybuffer";
    const queue = messages.flatMap((message) => [message, message]);
    const wrong = [];
    let at = 0;
    const send = () => {
      const message = queue[at];
      if (message === undefined) socket.close(4000, "ende");
      else socket.send(typeof message === "string" ? message : new Uint8Array(message));
    };
    socket.onopen = send;
    socket.onmessage = ({ data }) => {
      const received = typeof data === "string" ? data : [...new Uint8Array(data)];
      if (JSON.stringify(received) !== JSON.stringify(queue[at])) wrong.push(at);
      at += 1;
      send();
    };
    socket.onclose = ({ code, wasClean }) =>
      resolve({ extensions: socket.extensions, count: at, wrong, code, wasClean });
  });

  for (const wish of WISHES) {
    test(`the server wants ${name(wish)}`, async () => {
      const server = await serve(wish);
      const page = await browser.newPage();
      const messages = ["", "x", "grüße 😀", prose(100_000), [...Buffer.from(prose(30_000))],
        [...noise(70_000, 3)], "x".repeat(300_000), ...Array(5).fill([...noise(200, 4)])];
      const { extensions, ...result } = await page.evaluate(talk, [server.host, messages]);
      assert.deepEqual(params(extensions), answer(wish));
      assert.deepEqual(result, { count: 2 * messages.length, wrong: [], code: 4000, wasClean: true });
      await page.close();
      await server.stop();
    });
  }
});
