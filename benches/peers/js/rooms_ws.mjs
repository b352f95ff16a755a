// A room with npm ws, as its documentation broadcasts: `node rooms_ws.mjs PORT [batched]`.
//
// `batched` corks the sockets of the members until the messages of one read are through.

import { WebSocket, WebSocketServer } from "ws";

const [port, mode] = process.argv.slice(2);
const server = new WebSocketServer({ host: "127.0.0.1", port: Number(port), perMessageDeflate: false });
let corked = false;

server.on("listening", () => console.log(server.address().port));
server.on("connection", (socket, request) => {
  socket.publishes = request.url === "/publish";
  socket.on("error", () => {});
  socket.on("message", (data, isBinary) => {
    if (mode === "batched") cork();
    for (const client of server.clients) {
      if (!client.publishes && client.readyState === WebSocket.OPEN) {
        client.send(data, { binary: isBinary });
      }
    }
  });
});

function cork() {
  if (corked) return;
  corked = true;
  for (const client of server.clients) client._socket.cork();
  setImmediate(() => {
    corked = false;
    for (const client of server.clients) client._socket.uncork();
  });
}
