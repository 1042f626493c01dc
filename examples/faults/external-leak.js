// Keeps KEEP bytes (default 4,096) outside the V8 heap per request: external grows, the heap hardly.
// With --fixed only the last 100 buffers are kept.
'use strict';

const { answerOk, fixed, serve, setting } = require('./subject.js');

const bytes = setting('KEEP', 4096);
const kept = [];
serve((_request, response) => {
  // Not from the pool: each buffer has its own memory. Filled, so that the pages are resident.
  kept.push(Buffer.allocUnsafeSlow(bytes).fill(1));
  if (fixed && kept.length > 100) kept.shift();
  answerOk(response);
});
