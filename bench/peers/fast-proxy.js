// fast-proxy with its defaults, which keep connections to the upstream.  node fast-proxy.js PORT UPSTREAM_PORT
'use strict'

const http = require('http')
const [port, upstreamPort] = process.argv.slice(2).map(Number)
const { proxy } = require('fast-proxy')({ base: `http://127.0.0.1:${upstreamPort}` })

const options = {
  rewriteRequestHeaders (request, headers) {
    const before = headers['x-forwarded-for']
    const peer = request.socket.remoteAddress
    headers['x-forwarded-for'] = before ? `${before}, ${peer}` : peer
    return headers
  }
}

const server = http.createServer((request, response) => proxy(request, response, request.url, options))
server.keepAliveTimeout = 600_000
server.requestTimeout = 0
server.listen({ port, host: '127.0.0.1', backlog: 4096 })
process.on('SIGTERM', () => process.exit(0))
