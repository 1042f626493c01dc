// Takes its time before it listens, and starts with a heap worth collecting.
//
// START_S  seconds before it listens (default 60)
// HEAP_MB  heap of small live objects (default 200)
// LEAK     bytes kept per request (default 0)
'use strict';

const { answerOk, serve, setting } = require('./subject.js');

const OBJECT_BYTES = 48; // Map, properties and elements pointers, three fields in the object; 8 bytes each.
const loaded = [];
const objects = Math.round((setting('HEAP_MB', 200) * 2 ** 20) / (OBJECT_BYTES + 8));
const leak = setting('LEAK', 0);
const kept = [];
let requests = 0;

console.log(`loading ${objects} rows`);
for (let row = 0; row < objects; row += 1) loaded.push({ row, next: loaded[row - 1], seen: null });

const started = Date.now();
const talk = setInterval(() => console.log(`warming up for ${Math.round((Date.now() - started) / 1000)} s`), 1000);
setTimeout(() => {
  clearInterval(talk);
  serve((_request, response) => {
    requests += 1;
    loaded[requests % loaded.length].seen = requests % 1000;
    if (leak > 0) kept.push(Buffer.alloc(leak, (requests % 26) + 97).toString('latin1'));
    answerOk(response);
  });
}, setting('START_S', 60) * 1000);
