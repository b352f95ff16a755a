// A room in Bun, whose server is uWebSockets: `bun rooms_bun.mjs PORT`.

const server = Bun.serve({
  hostname: "127.0.0.1",
  port: Number(process.argv[2]),
  fetch(request, server) {
    const publishes = new URL(request.url).pathname === "/publish";
    if (!server.upgrade(request, { data: { publishes } })) {
      return new Response("a WebSocket is wanted", { status: 400 });
    }
  },
  websocket: {
    perMessageDeflate: false,
    open(socket) {
      if (!socket.data.publishes) socket.subscribe("room");
    },
    message(socket, message) {
      socket.publish("room", message);
    },
  },
});
console.log(server.port);
