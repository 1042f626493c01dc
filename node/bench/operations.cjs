'use strict';
/* Operations with known answers, for `leak-tests.mjs`. Chains instead of arrays: a container adds what it doubles. */

let chain = null;

exports.noop = () => {};
exports.json = () => JSON.parse(JSON.stringify({ list: [1, 2, 3], text: 'some text' }));
exports.waits = async () => {
  await 1;
  await 2;
  await 3;
};
const server = require('http').createServer((request, response) => response.end('ok'));
// A machine that is busy elsewhere may pause for longer than a server waits for the next request.
server.keepAliveTimeout = 0;
server.on('connection', (socket) => socket.unref());
let listening = null;
const agent = new (require('http').Agent)({ keepAlive: true, maxSockets: 1 });
exports.http = async () => {
  // Unref'ed, with its sockets: a runner ends when its tests do.
  listening ??= new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server.address().port)).unref());
  const port = await listening;
  await new Promise((resolve, reject) => {
    const request = require('http').get({ port, host: '127.0.0.1', agent }, (response) => response.resume().on('end', resolve));
    request.on('error', reject);
  });
};

/* Map, properties, elements and one field: 32 B. */
exports.bytes32 = () => {
  chain = { next: chain };
};
/* Four fields: 56 B. */
exports.bytes56 = () => {
  chain = { next: chain, a: 1, b: 2, c: 3 };
};
/* Sixteen fields: 152 B. */
exports.bytes152 = () => {
  chain = { next: chain, a: 1, b: 2, c: 3, d: 4, e: 5, f: 6, g: 7, h: 8, i: 9, j: 10, k: 11, l: 12, m: 13, n: 14, o: 15 };
};
exports.hundredth = (iteration) => {
  if (iteration % 100 === 0) chain = { next: chain, a: 1, b: 2, c: 3 };
};

/* Numbers in a table: nothing grows but the table, when it doubles. */
const seen = new Set();
exports.seen = (iteration) => {
  seen.add(iteration);
};
const numbers = [];
exports.numbers = (iteration) => {
  numbers.push(iteration);
};
