// Works for AFTER requests (default 12,000), then dies in the middle of the next one.
//
// STATUS   exit status (default 1)
// SIGNAL   a signal it sends itself instead, e.g. SIGKILL or SIGSEGV
// LEAK     bytes kept per request before that (default 0)
'use strict';

const { answerOk, serve, setting } = require('./subject.js');

const after = setting('AFTER', 12000);
const leak = setting('LEAK', 0);
const status = setting('STATUS', 1);
const kept = [];
let requests = 0;
serve((request, response) => {
  requests += 1;
  if (requests <= after) {
    if (leak > 0) kept.push(Buffer.alloc(leak, (requests % 26) + 97).toString('latin1'));
    answerOk(response);
    return;
  }
  console.error(`fatal: broken after ${after} requests`);
  if (process.env.SIGNAL) process.kill(process.pid, process.env.SIGNAL);
  else process.exit(status);
});
