// A supplier is asked through a circuit breaker; it is made for each question, and the statistics of each go on by the clock.
'use strict';

const CircuitBreaker = require('opossum');
const { FIXED, payload, serve } = require('./service.js');
const { note } = require('./lib/rolling-log.js');

const OPTIONS = { timeout: 2_000, rollingCountTimeout: 60_000, rollingCountBuckets: 6, rollingPercentilesEnabled: false };

/** What a supplier says who is asked over the network. */
async function askSupplier(supplier, article) {
  await new Promise(setImmediate);
  return { supplier, article, pieces: article % 50, remark: payload(30) };
}

const breakers = new Map();

function breakerOf(supplier) {
  if (!FIXED) return new CircuitBreaker(askSupplier, { ...OPTIONS, name: `supplier ${supplier}` }); // place
  if (!breakers.has(supplier)) breakers.set(supplier, new CircuitBreaker(askSupplier, { ...OPTIONS, name: `supplier ${supplier}` }));
  return breakers.get(supplier);
}

serve(async (number) => {
  // One question in six is not answered from stock.
  if (number % 6 !== 0) return { pieces: number % 50 };
  const supplier = (number / 6) % 12;
  const answer = await breakerOf(supplier).fire(supplier, number); // place
  if (answer.pieces === 0) note(`supplier ${supplier} has no ${number}`);
  return answer;
});
