// A small proxy on undici's pool, streaming both ways.  node undici.js PORT UPSTREAM_PORT
'use strict'

const http = require('http')
const { Pool } = require('undici')
const [port, upstreamPort] = process.argv.slice(2).map(Number)
const pool = new Pool(`http://127.0.0.1:${upstreamPort}`)

// RFC 9110 section 7.6.1: what is said to the next hop only.
const HOP_BY_HOP = new Set([
  'connection', 'expect', 'keep-alive', 'proxy-connection', 'te', 'trailer', 'transfer-encoding', 'upgrade'
])

function endToEnd (headers) {
  const kept = {}
  for (const name in headers) {
    if (!HOP_BY_HOP.has(name)) kept[name] = headers[name]
  }
  return kept
}

function begin ({ statusCode, headers, opaque: response }) {
  response.writeHead(statusCode, endToEnd(headers))
  return response
}

const server = http.createServer((request, response) => {
  const headers = endToEnd(request.headers)
  const before = headers['x-forwarded-for']
  const peer = request.socket.remoteAddress
  headers['x-forwarded-for'] = before ? `${before}, ${peer}` : peer
  const hasBody = 'content-length' in request.headers || 'transfer-encoding' in request.headers
  const options = {
    path: request.url, method: request.method, headers, body: hasBody ? request : null, opaque: response
  }
  pool.stream(options, begin, error => {
    if (!error) return
    console.error(error)
    if (!response.headersSent) response.writeHead(502)
    response.end()
  })
})
server.keepAliveTimeout = 600_000
server.requestTimeout = 0
server.listen({ port, host: '127.0.0.1', backlog: 4096 })
process.on('SIGTERM', () => process.exit(0))
