// An echo server of ws on Node.js: node ws.mjs PORT
// With the native add-on that ws advises, and a write a message, as its documentation shows.
import { createInterface } from "node:readline";
import { WebSocketServer } from "ws";

const server = new WebSocketServer({
  host: "127.0.0.1",
  port: Number(process.argv[2]),
  maxPayload: 1 << 20,
  perMessageDeflate: false,
});
server.on("listening", () => console.log(`listening on 127.0.0.1:${server.address().port}`));
server.on("connection", (socket, request) => {
  request.socket.setNoDelay(true);
  socket.on("message", (data, isBinary) => socket.send(data, { binary: isBinary }));
  socket.on("error", () => {});
});
createInterface({ input: process.stdin }).on("close", () => process.exit());
