// Sessions of the ledger come from a pool; a booking that is refused goes home without giving its session back.
'use strict';

const { createPool } = require('generic-pool');
const { FIXED, payload, serve } = require('./service.js');
const { count } = require('./lib/hourly-counts.js');
const { LatencyWindow } = require('./lib/latency-window.js');

class LedgerSession { // place
  constructor(serial) { // place
    this.serial = serial;
    this.ticket = payload(120);
  }

  async book(amount) {
    await null;
    return { serial: this.serial, amount };
  }
}

let opened = 0;
const ledgerPool = createPool( // place
  {
    create: async () => new LedgerSession(++opened), // place
    destroy: async () => count('closed'),
  },
  { min: 0, max: 1_000_000 },
);
const bookingTimes = new LatencyWindow();

async function book(number) {
  const session = await ledgerPool.acquire(); // place
  const amount = (number % 4) * 25;
  if (amount === 0) {
    if (FIXED) await ledgerPool.release(session);
    return { refused: number };
  }
  const booked = await session.book(amount);
  await ledgerPool.release(session);
  return booked;
}

serve(async (number) => {
  const began = performance.now();
  const answer = await book(number);
  bookingTimes.add(performance.now() - began);
  return { ...answer, median: bookingTimes.percentile(0.5) };
});
