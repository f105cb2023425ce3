// Node's own http, with a clean end at TERM.
const crypto = require("node:crypto");
const http = require("node:http");

const generation = process.env.RAINBOWD_GENERATION || "0";
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

const server = http.createServer(async (request, response) => {
  const path = new URL(request.url, "http://localhost").pathname; // "/up" answers as all others do
  response.setHeader("X-Generation", generation);
  if (path === "/stream") {
    for (let number = 0; number < 10; number++) {
      response.write(`${number}\n`);
      await sleep(50);
    }
    return response.end("end\n");
  }
  if (path === "/slow") await sleep(300);
  if (path !== "/echo") return response.end(path);
  const parts = [];
  for await (const part of request) parts.push(part);
  const body = Buffer.concat(parts);
  const sha256 = crypto.createHash("sha256").update(body).digest("hex");
  return response.end(JSON.stringify({ length: body.length, sha256 }));
});

server.listen(Number(process.env.PORT), "127.0.0.1");
process.on("SIGTERM", () => server.close());
