// An echo server of ws on Node.js: node ws-batched.mjs PORT
// As ws.mjs, but what is sent while one read is handled leaves in one write.
import { createInterface } from "node:readline";
import { WebSocketServer } from "ws";

const server = new WebSocketServer({
  host: "127.0.0.1",
  port: Number(process.argv[2]),
  maxPayload: 1 << 20,
  perMessageDeflate: false,
  allowSynchronousEvents: true,
});
server.on("listening", () => console.log(`listening on 127.0.0.1:${server.address().port}`));
server.on("connection", (socket, request) => {
  const stream = request.socket;
  stream.setNoDelay(true);
  let isCorked = false;
  socket.on("message", (data, isBinary) => {
    if (!isCorked) {
      isCorked = true;
      stream.cork();
      setImmediate(() => {
        isCorked = false;
        stream.uncork();
      });
    }
    socket.send(data, { binary: isBinary });
  });
  socket.on("error", () => {});
});
createInterface({ input: process.stdin }).on("close", () => process.exit());
