// Two workers behind one port.
const cluster = require("node:cluster");
const crypto = require("node:crypto");
const http = require("node:http");

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

async function answer(request, response) {
  const path = new URL(request.url, "http://localhost").pathname; // "/up" answers as all others do
  response.setHeader("X-Generation", process.env.RAINBOWD_GENERATION || "0");
  if (path === "/stream") {
    for (let number = 0; number < 10; number++) {
      response.write(`${number}\n`);
      await sleep(50);
    }
    return response.end("end\n");
  }
  if (path === "/slow") await sleep(300);
  if (path !== "/echo") return response.end(path);
  const hash = crypto.createHash("sha256");
  let length = 0;
  for await (const part of request) {
    hash.update(part);
    length += part.length;
  }
  return response.end(JSON.stringify({ length, sha256: hash.digest("hex") }));
}

if (cluster.isPrimary) {
  cluster.fork();
  cluster.fork();
  process.on("SIGTERM", () => cluster.disconnect());
} else {
  http.createServer(answer).listen(Number(process.env.PORT), "127.0.0.1");
}
