// An echo server of Bun, which is uWebSockets below: bun bun.mjs PORT
// What is sent while one read is handled leaves in one write; Bun sees to that itself.
const server = Bun.serve({
  hostname: "127.0.0.1",
  port: Number(process.argv[2]),
  fetch(request, server) {
    return server.upgrade(request) ? undefined : new Response(null, { status: 400 });
  },
  websocket: {
    maxPayloadLength: 1 << 20,
    backpressureLimit: 16 << 20,
    perMessageDeflate: false,
    idleTimeout: 0,
    sendPings: false,
    message(socket, message) {
      socket.send(message);
    },
  },
});
console.log(`listening on 127.0.0.1:${server.port}`);
process.stdin.on("end", () => process.exit());
process.stdin.resume();
