// Questions to carriers end when the service shuts down: each adds a listener to the one signal for that and leaves it there.
'use strict';

const { setMaxListeners } = require('node:events');
const { FIXED, payload, serve } = require('./service.js');
const { BoundedCache } = require('./lib/bounded-cache.js');
const { TimeBuckets } = require('./lib/time-buckets.js');

const shutdown = new AbortController(); // place
setMaxListeners(0, shutdown.signal); // many questions are open at once
process.once('SIGTERM', () => shutdown.abort(new Error('shutting down')));

const carriers = new BoundedCache(20);
const answerTimes = new TimeBuckets();
const quotedByZone = new Uint32Array(9);

class CarrierQuestion { // place
  constructor(carrier, freight) { // place
    this.carrier = carrier;
    this.freight = freight;
    this.state = 'open';
    this.offers = [];
  }

  cancel(reason) {
    if (this.state === 'open') this.state = `given up: ${reason.message}`;
  }

  /** Asks, and is done with it when the carrier has answered. */
  async ask(signal) {
    signal.throwIfAborted();
    const onShutdown = () => this.cancel(signal.reason); // place
    signal.addEventListener('abort', onShutdown, { once: true }); // place
    try {
      this.offers = await offersOf(this.carrier, this.freight);
      if (this.state === 'open') this.state = 'answered';
      return this.offers;
    } finally {
      if (FIXED) signal.removeEventListener('abort', onShutdown);
    }
  }
}

/** Stands for the carrier's own service. */
async function offersOf(carrier, freight) {
  await new Promise(setImmediate);
  return ['road', 'rail'].map((way, index) => ({ // place
    way,
    cents: carrier.basis + freight.kilograms * (14 - 5 * index),
    days: 1 + 2 * index + (freight.zone % 3),
  }));
}

function carrierOf(number) {
  return carriers.get(`carrier-${number % 26}`, (name) => ({ name, basis: 900 + (number % 26) * 35, terms: payload(180) }));
}

function cheapest(offers) {
  return offers.reduce((best, offer) => (offer.cents < best.cents ? offer : best));
}

serve(async (number) => {
  const began = performance.now();
  const freight = { kilograms: 20 + (number % 400), zone: number % 9, marks: payload(150) }; // place
  const question = new CarrierQuestion(carrierOf(number), freight); // place
  const offers = await question.ask(shutdown.signal); // place
  quotedByZone[freight.zone] += 1;
  answerTimes.observe(performance.now() - began);
  return { carrier: question.carrier.name, ...cheapest(offers), quoted: quotedByZone[freight.zone], slow: answerTimes.slow() };
});
