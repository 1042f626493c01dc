// A quote is dropped when its visitor goes or the service closes: a signal of both, whose listener outlives the answer.
'use strict';

const { FIXED, payload, serve } = require('./service.js');
const { LatencyWindow } = require('./lib/latency-window.js');

const closingSoon = new AbortController(); // place
const quoteTimes = new LatencyWindow();

// The fixed way: one listener for the service, which tells those who are still at work.
const atWork = new Set();
if (FIXED) closingSoon.signal.addEventListener('abort', () => atWork.forEach((visitor) => visitor.abort()));

class HaulageQuote { // place
  constructor(number) { // place
    this.number = number;
    this.route = payload(240);
    this.dropped = false;
  }

  async compute(signal) {
    const begun = performance.now();
    await new Promise(setImmediate);
    signal.throwIfAborted();
    quoteTimes.add(performance.now() - begun);
    return this.number % 1000;
  }
}

serve(async (number, _request, response) => {
  const visitor = new AbortController();
  response.once('close', () => {
    if (!response.writableFinished) visitor.abort();
  });
  const quote = new HaulageQuote(number); // place
  const dropQuote = () => { // place
    quote.dropped = true;
  };
  if (FIXED) {
    atWork.add(visitor);
    visitor.signal.addEventListener('abort', dropQuote);
    return { euros: await quote.compute(visitor.signal).finally(() => atWork.delete(visitor)) };
  }
  const either = AbortSignal.any([closingSoon.signal, visitor.signal]); // place
  either.addEventListener('abort', dropQuote); // place
  return { euros: await quote.compute(either) };
});
