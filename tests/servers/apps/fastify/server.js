// A Fastify application, with WebSockets.
const crypto = require("node:crypto");
const { Readable } = require("node:stream");
const app = require("fastify")();

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

async function* lines() {
  for (let number = 0; number < 10; number++) {
    yield `${number}\n`;
    await sleep(50);
  }
  yield "end\n";
}

app.addHook("onRequest", async (request, reply) => {
  reply.header("X-Generation", process.env.RAINBOWD_GENERATION || "0");
});
app.addContentTypeParser("*", { parseAs: "buffer" }, (request, body, done) => done(null, body));
app.get("/", async () => "up");
app.get("/up", async () => "up");
app.get("/slow", async () => {
  await sleep(300);
  return "slow";
});
app.get("/stream", (request, reply) => reply.send(Readable.from(lines())));
app.post("/echo", async (request) => ({
  length: request.body.length,
  sha256: crypto.createHash("sha256").update(request.body).digest("hex"),
}));

app.register(require("@fastify/websocket"));
app.register(async (inner) => {
  inner.get("/ws", { websocket: true }, (socket) => socket.on("message", (message) => socket.send(message)));
});
app.ready(() => {
  app.websocketServer.on("headers", (fields) => {
    fields.push(`X-Generation: ${process.env.RAINBOWD_GENERATION || "0"}`);
  });
});

app.listen({ port: Number(process.env.PORT), host: "127.0.0.1" });
process.on("SIGTERM", () => app.close());
