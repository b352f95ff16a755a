// Starts the built examples for the tests, and ends them whatever happens to the tests.

import { spawn } from "node:child_process";
import { once } from "node:events";
import net from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";

const EXAMPLES = process.env.WSROOM_EXAMPLES ?? new URL("../../target/release/examples", import.meta.url).pathname;
const running = new Set();

process.on("exit", () => running.forEach((child) => child.kill("SIGKILL")));
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(1));

/** Starts an example without waiting for it; its output lines are collected in `lines`. */
export function run(example, ...args) {
  const child = spawn(join(EXAMPLES, example), args.map(String));
  running.add(child);
  const lines = [];
  const waiting = new Set();
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream }).on("line", (line) => {
      lines.push(line);
      waiting.forEach((look) => look(line));
    });
  }
  const ended = new Promise((resolve) => {
    child.once("close", (code, signal) => resolve({ code, signal }));
    child.once("error", (error) => {
      lines.push(String(error));
      resolve({ error });
    });
  });
  ended.then(() => {
    running.delete(child);
    waiting.forEach((look) => look(null));
  });

  const lacks = (pattern) => new Error(`${example} ended without ${pattern}:\n${lines.join("\n")}`);

  /** Resolves with the first line, past or future, that `pattern` matches. */
  function line(pattern) {
    const past = lines.find((line) => pattern.test(line));
    if (past !== undefined) return Promise.resolve(past);
    if (!running.has(child)) return Promise.reject(lacks(pattern));
    return new Promise((resolve, reject) => {
      const look = (line) => {
        if (line === null) reject(lacks(pattern));
        else if (pattern.test(line)) resolve(line);
        else return;
        waiting.delete(look);
      };
      waiting.add(look);
    });
  }

  /** Sends `signal` and resolves with how the program ended. */
  function stop(signal = "SIGKILL") {
    child.kill(signal);
    return ended;
  }

  return { child, lines, line, stop, ended };
}

/** Starts a server example and resolves once it listens, with `host` ("127.0.0.1:PORT") and `port`. */
export function serve(example, port = 0) {
  return listening(run(example, port));
}

/** Resolves once a program listens, with `host` and `port`. */
export async function listening(program) {
  const host = /127\.0\.0\.1:\d+/.exec(await program.line(/127\.0\.0\.1:\d+/))[0];
  return { ...program, host, port: Number(host.split(":")[1]) };
}

/** A TCP connection for bytes that no client library would send. */
export class Raw {
  #received = Buffer.alloc(0);
  #wake = () => {};
  #ended = false;

  static async connect(port) {
    const socket = net.connect({ port, host: "127.0.0.1", allowHalfOpen: true });
    await once(socket, "connect");
    return new Raw(socket);
  }

  constructor(socket) {
    this.socket = socket;
    socket.on("data", (data) => {
      this.#received = Buffer.concat([this.#received, data]);
      this.#wake();
    });
    socket.on("end", () => {
      this.#ended = true;
      this.#wake();
    });
    socket.on("error", () => {});
  }

  write(...bytes) {
    for (const part of bytes) this.socket.write(part);
  }

  /** Takes everything up to and with `mark` off the received bytes. */
  async until(mark) {
    for (;;) {
      const at = this.#received.indexOf(mark);
      if (at >= 0) return this.take(at + mark.length);
      await this.#more();
    }
  }

  async take(length) {
    while (this.#received.length < length) await this.#more();
    const taken = this.#received.subarray(0, length);
    this.#received = this.#received.subarray(length);
    return taken;
  }

  /** Everything that still comes, until the server's FIN. */
  async rest() {
    while (!this.#ended) await this.#more();
    return this.#received;
  }

  async #more() {
    if (this.#ended) throw new Error(`the server ended the connection after ${this.#received.toString("hex")}`);
    await new Promise((resolve) => (this.#wake = resolve));
  }
}

export const KEY = "dGhlIHNhbXBsZSBub25jZQ==";

/** An opening request; `edits` replace or, with null, remove fields. */
export function request(port, edits = {}, line = "GET / HTTP/1.1") {
  const fields = {
    Host: `127.0.0.1:${port}`,
    Upgrade: "websocket",
    Connection: "Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
    ...edits,
  };
  const lines = Object.entries(fields).filter(([, value]) => value !== null);
  return [line, ...lines.map(([field, value]) => `${field}: ${value}`), "", ""].join("\r\n");
}

/** A client's frame, masked with 00000000 so that the payload can be read. */
export function frame(first, payload = "") {
  const bytes = Buffer.from(payload);
  const header = Buffer.alloc(bytes.length < 126 ? 2 : bytes.length < 65536 ? 4 : 10);
  header[0] = first;
  header[1] = 0x80 | [bytes.length, 126, 127][[2, 4, 10].indexOf(header.length)];
  if (header.length === 4) header.writeUInt16BE(bytes.length, 2);
  if (header.length === 10) header.writeBigUInt64BE(BigInt(bytes.length), 2);
  return Buffer.concat([header, Buffer.alloc(4), bytes]);
}
