// A quote stands for two seconds and is asked for once more at most; what is over, the store drops only when it is asked for.
'use strict';

const Keyv = require('keyv');
const QuickLRU = require('quick-lru');
const { FIXED, payload, serve } = require('./service.js');
const { count } = require('./lib/hourly-counts.js');
const { LatencyWindow } = require('./lib/latency-window.js');

const TWO_SECONDS = 2000;
const quoteCache = new Keyv({ // place
  namespace: 'quotes',
  ttl: TWO_SECONDS,
  ...(FIXED ? { store: new QuickLRU({ maxSize: 100 }) } : {}),
});
quoteCache.on('error', () => count('cache error'));

const quoteTimes = new LatencyWindow();

/** Stands for the bank. */
async function askBank(pair, amount) {
  await null;
  return { pair, amount, rate: 1 + (amount % 89) / 1000, signature: payload(420), until: Date.now() + TWO_SECONDS };
}

async function quote(pair, amount, customer) {
  const key = `${pair}/${amount}/${customer}`; // place
  const known = await quoteCache.get(key);
  if (known !== undefined) {
    count('from the cache');
    return known;
  }
  const fresh = await askBank(pair, amount); // place
  await quoteCache.set(key, fresh); // place
  return fresh;
}

serve(async (number) => {
  const began = performance.now();
  // Who is shown a price mostly asks once more, with the order.
  const visit = Math.floor(number / 2);
  const pair = ['EURCHF', 'EURSEK', 'EURPLN'][visit % 3];
  const { rate, signature } = await quote(pair, 100 + (visit % 5000), `customer-${visit}`); // place
  quoteTimes.add(performance.now() - began);
  return { pair, rate, seal: signature.slice(0, 8), p90: quoteTimes.percentile(0.9) };
});
