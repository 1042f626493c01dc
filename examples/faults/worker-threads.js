// Hands each request to one of WORKERS threads (default 2), which keeps LEAK bytes (default 1,024)
// of it. With --fixed it keeps nothing. SLEEPER=1 adds a thread that sleeps in Atomics.wait and so
// never answers a probe.
'use strict';

const { Worker, isMainThread, parentPort, workerData } = require('node:worker_threads');
const { answerOk, fixed, serve, setting } = require('./subject.js');

if (isMainThread) {
  const answers = new Map();
  const workers = Array.from({ length: setting('WORKERS', 2) }, () => {
    const worker = new Worker(__filename, { argv: process.argv.slice(2), workerData: { role: 'keeper' } });
    worker.on('message', (number) => {
      answerOk(answers.get(number));
      answers.delete(number);
    });
    return worker;
  });
  if (process.env.SLEEPER) new Worker(__filename, { workerData: { role: 'sleeper' } });
  let requests = 0;
  serve((_request, response) => {
    requests += 1;
    answers.set(requests, response);
    workers[requests % workers.length].postMessage(requests);
  });
} else if (workerData.role === 'sleeper') {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
} else {
  const leak = setting('LEAK', 1024);
  const kept = [];
  parentPort.on('message', (number) => {
    if (!fixed) kept.push(Buffer.alloc(leak, (number % 26) + 97).toString('latin1'));
    parentPort.postMessage(number);
  });
}
