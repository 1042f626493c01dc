// A cache of exchange rates whose key is an object made anew for each question, so that nothing is ever found in it.
'use strict';

const { FIXED, payload, serve } = require('./service.js');
const { LatencyWindow } = require('./lib/latency-window.js');

const CURRENCIES = ['EUR', 'USD', 'GBP', 'CHF', 'JPY', 'SEK', 'NOK', 'DKK', 'PLN', 'CZK', 'HUF', 'TRY'];

const latencies = new LatencyWindow();
const rateByPair = new Map(); // place

async function askBank(pair) {
  const begun = performance.now();
  await new Promise(setImmediate);
  latencies.add(performance.now() - begun);
  return { rate: 1 + (pair.from.charCodeAt(0) % 7) / pair.to.charCodeAt(1), source: payload(60) }; // place
}

async function rateOf(pair) {
  const key = FIXED ? `${pair.from}/${pair.to}` : pair;
  let quoted = rateByPair.get(key);
  if (quoted === undefined) {
    quoted = await askBank(pair);
    rateByPair.set(key, quoted); // place
  }
  return quoted;
}

serve(async (number) => {
  const pair = { from: CURRENCIES[number % 12], to: CURRENCIES[(number * 5 + (number >> 4)) % 12] }; // place
  const { rate } = await rateOf(pair);
  return { ...pair, rate, p90: latencies.percentile(0.9) };
});
