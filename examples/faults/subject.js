// What the small subjects of this folder share: a port, numbers from the environment, an end.
//
// PORT           port to listen on, 127.0.0.1 only (default 8080; 0 picks one, which is printed)
// LIFETIME_S     the subject ends itself after so long, whatever happens (default 600)
// KEEP_ALIVE_MS  how long an idle connection is kept (default: Node's own 5,000)
'use strict';

const http = require('node:http');

/** A number from the environment. Anything else there ends the subject with status 2. */
function setting(name, fallback) {
  const value = Number(process.env[name] ?? fallback);
  if (Number.isFinite(value)) return value;
  console.error(`${name} is not a number: ${process.env[name]}`);
  process.exit(2);
}

/** Ends the process for certain; returns the timer, which also keeps the process alive until then. */
function limitLifetime() {
  return setTimeout(() => process.exit(0), setting('LIFETIME_S', 600) * 1000);
}

/** Listens with `answer` as the request handler and says so on one line. Ends on SIGTERM. */
function serve(answer) {
  limitLifetime().unref();
  const server = http.createServer((request, response) => {
    request.resume();
    answer(request, response);
  });
  server.keepAliveTimeout = setting('KEEP_ALIVE_MS', server.keepAliveTimeout);
  server.listen(setting('PORT', 8080), '127.0.0.1', () => {
    console.log(`listening on http://127.0.0.1:${server.address().port}/`);
  });
  process.once('SIGTERM', () => process.exit(0));
  return server;
}

/** The plain answer of a subject that works. */
function answerOk(response) {
  response.writeHead(200, { 'content-type': 'text/plain' });
  response.end('ok\n');
}

/** `--fixed` on the command line: the healthy twin is wanted. */
const fixed = process.argv.includes('--fixed');

module.exports = { answerOk, fixed, limitLifetime, serve, setting };
