// permessage-deflate in Bun, whose server is uWebSockets: `bun deflate_bun.mjs TASK TAKEOVER
// default PORT`, as src/bin/deflate_server.rs has it. The level cannot be set.

const [task, takeover, , port] = process.argv.slice(2);
const kind = takeover === "takeover" ? "dedicated" : "shared";

const server = Bun.serve({
  hostname: "127.0.0.1",
  port: Number(port),
  fetch(request, server) {
    const publishes = new URL(request.url).pathname === "/publish";
    if (!server.upgrade(request, { data: { publishes } })) {
      return new Response("a WebSocket is wanted", { status: 400 });
    }
  },
  websocket: {
    perMessageDeflate: { compress: kind, decompress: kind },
    open(socket) {
      if (!socket.data.publishes) socket.subscribe("room");
    },
    message(socket, message) {
      if (task === "echo") socket.send(message, true);
      else socket.publish("room", message, true);
    },
  },
});
console.log(server.port);
