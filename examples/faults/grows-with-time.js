// Keeps RATE bytes (default 65,536) of heap per second, whether requests come or not.
// With --fixed only the last 100 pieces are kept.
'use strict';

const { answerOk, fixed, serve, setting } = require('./subject.js');

const bytes = Math.round(setting('RATE', 65536) / 20);
const kept = [];
setInterval(() => {
  kept.push(Buffer.alloc(bytes, (kept.length % 26) + 97).toString('latin1'));
  if (fixed && kept.length > 100) kept.shift();
}, 50);
serve((_request, response) => answerOk(response));
