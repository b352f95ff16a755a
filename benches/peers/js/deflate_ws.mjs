// permessage-deflate with npm ws: `node deflate_ws.mjs TASK TAKEOVER LEVEL PORT`, as
// src/bin/deflate_server.rs has it.

import { WebSocket, WebSocketServer } from "ws";

const [task, takeover, level, port] = process.argv.slice(2);
const perMessageDeflate = {
  serverNoContextTakeover: takeover !== "takeover",
  clientNoContextTakeover: takeover !== "takeover",
};
if (level !== "default") {
  perMessageDeflate.zlibDeflateOptions = { level: Number(level) };
  perMessageDeflate.threshold = 0;
}
const server = new WebSocketServer({ host: "127.0.0.1", port: Number(port), perMessageDeflate });

server.on("listening", () => console.log(server.address().port));
server.on("connection", (socket, request) => {
  socket.publishes = request.url === "/publish";
  socket.on("error", () => {});
  socket.on("message", (data, isBinary) => {
    if (task === "echo") {
      socket.send(data, { binary: isBinary });
      return;
    }
    for (const client of server.clients) {
      if (!client.publishes && client.readyState === WebSocket.OPEN) {
        client.send(data, { binary: isBinary });
      }
    }
  });
});
