// WORKERS processes (default 2) share the port; each keeps LEAK bytes (default 1,024) per request.
// With --fixed they keep nothing. RESTART_AFTER=N replaces a worker after N of its requests.
'use strict';

const cluster = require('node:cluster');
const { answerOk, fixed, limitLifetime, serve, setting } = require('./subject.js');

if (cluster.isPrimary) {
  limitLifetime();
  for (let worker = 0; worker < setting('WORKERS', 2); worker += 1) cluster.fork();
  let ending = false;
  cluster.on('message', (old) => {
    // The replacement listens before the old one stops, so that no connection falls between them.
    cluster.fork().once('listening', () => old.disconnect());
  });
  cluster.on('exit', (worker) => {
    if (!ending && !worker.exitedAfterDisconnect) cluster.fork();
  });
  process.once('SIGTERM', () => {
    ending = true;
    for (const worker of Object.values(cluster.workers)) worker.process.kill('SIGTERM');
    cluster.disconnect(() => process.exit(0));
  });
} else {
  const leak = setting('LEAK', 1024);
  const restartAfter = setting('RESTART_AFTER', 0) || Infinity;
  const kept = [];
  let requests = 0;
  serve((_request, response) => {
    requests += 1;
    if (!fixed) kept.push(Buffer.alloc(leak, (requests % 26) + 97).toString('latin1'));
    if (requests >= restartAfter) response.setHeader('connection', 'close');
    answerOk(response);
    if (requests === restartAfter) process.send('replace me');
  });
}
