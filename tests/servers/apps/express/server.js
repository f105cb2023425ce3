// An Express application.
const crypto = require("node:crypto");
const express = require("express");

const app = express();
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

app.use((request, response, next) => {
  response.set("X-Generation", process.env.RAINBOWD_GENERATION || "0");
  next();
});
app.get(["/", "/up"], (request, response) => response.send("up"));
app.get("/slow", async (request, response) => {
  await sleep(300);
  response.send("slow");
});
app.get("/stream", async (request, response) => {
  for (let number = 0; number < 10; number++) {
    response.write(`${number}\n`);
    await sleep(50);
  }
  response.end("end\n");
});
app.post("/echo", express.raw({ type: () => true }), (request, response) => {
  const sha256 = crypto.createHash("sha256").update(request.body).digest("hex");
  response.json({ length: request.body.length, sha256 });
});

const server = app.listen(Number(process.env.PORT), "127.0.0.1");
process.on("SIGTERM", () => server.close());
