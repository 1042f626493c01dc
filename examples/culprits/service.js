// What the pairs of this folder share: an HTTP service around one handler, leaky unless `--fixed` is given.
//
// PORT sets the port (default 8080). SIGTERM ends it after the requests in flight.
'use strict';

const crypto = require('node:crypto');
const http = require('node:http');

const FIXED = process.argv.includes('--fixed');

/** Some text that no other request has: what a payload would be. */
function payload(bytes = 300) {
  return crypto.randomBytes(Math.ceil(bytes / 2)).toString('hex').slice(0, bytes);
}

/** Serves `handle(number, request, response)`, which returns (a promise of) the answer. */
function serve(handle) {
  let number = 0;
  const server = http.createServer((request, response) => {
    request.resume();
    Promise.resolve()
      .then(() => handle(++number, request, response))
      .then((answer) => response.end(JSON.stringify(answer ?? { ok: true })))
      .catch((error) => {
        response.statusCode = 500;
        response.end(String(error.stack));
      });
  });
  server.listen(Number(process.env.PORT ?? 8080), '127.0.0.1', () => {
    console.log(`listening on http://127.0.0.1:${server.address().port}/`);
  });
  process.once('SIGTERM', () => {
    server.close();
    server.closeAllConnections();
    setTimeout(() => process.exit(0), 500).unref();
  });
}

module.exports = { FIXED, payload, serve };
