// node http-proxy with an agent that keeps connections to the upstream.  node http-proxy.js PORT UPSTREAM_PORT
'use strict'

const http = require('http')
const httpProxy = require('http-proxy')
const [port, upstreamPort] = process.argv.slice(2).map(Number)

const proxy = httpProxy.createProxyServer({
  target: { host: '127.0.0.1', port: upstreamPort, protocol: 'http:' },
  agent: new http.Agent({ keepAlive: true })
})
proxy.on('error', (error, request, response) => {
  console.error(error)
  if (response.writeHead && !response.headersSent) response.writeHead(502)
  response.end()
})

function forward (request) {
  const before = request.headers['x-forwarded-for']
  const peer = request.socket.remoteAddress
  request.headers['x-forwarded-for'] = before ? `${before}, ${peer}` : peer
}

const server = http.createServer((request, response) => {
  forward(request)
  proxy.web(request, response)
})
server.on('upgrade', (request, socket, head) => {
  forward(request)
  proxy.ws(request, socket, head)
})
server.keepAliveTimeout = 600_000
server.requestTimeout = 0
server.listen({ port, host: '127.0.0.1', backlog: 4096 })
process.on('SIGTERM', () => process.exit(0))
