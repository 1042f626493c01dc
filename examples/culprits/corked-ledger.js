// Bookings are written to the ledger in one go: the stream is corked for them. A booking of nothing leaves it corked.
'use strict';

const { Writable } = require('node:stream');
const { FIXED, payload, serve } = require('./service.js');
const { count } = require('./lib/hourly-counts.js');
const { note } = require('./lib/rolling-log.js');

class LedgerLine { // place
  constructor(account, cents, text) { // place
    this.account = account;
    this.cents = cents;
    this.text = text;
  }
}

/** Stands for the table of the ledger, which takes many lines at once. */
class LedgerWriter extends Writable { // place
  constructor() { // place
    super({ objectMode: true, highWaterMark: 64 }); // place
    this.balance = 0;
    this.written = 0;
  }

  _write(line, _encoding, done) {
    this.#insert([line]);
    setImmediate(done);
  }

  _writev(chunks, done) {
    this.#insert(chunks.map(({ chunk }) => chunk));
    setImmediate(done);
  }

  #insert(lines) {
    for (const line of lines) this.balance += line.cents;
    this.written += lines.length;
    if (this.written % 400 === 0) note(`${this.written} lines, ${this.balance} in the balance`);
  }
}

const ledger = new LedgerWriter(); // place

function book(booking) {
  ledger.cork();
  const uncork = () => ledger.uncork();
  ledger.write(new LedgerLine('debit', -booking.cents, booking.text)); // place
  if (booking.cents === 0) {
    count('nothing to book');
    if (FIXED) process.nextTick(uncork);
    return 'noted';
  }
  ledger.write(new LedgerLine('credit', booking.cents, booking.text)); // place
  process.nextTick(uncork);
  count('booked');
  return 'booked';
}

serve(async (number) => {
  const booking = { number, cents: (number * 37) % 100, text: payload(180) };
  const state = book(booking); // place
  await new Promise(setImmediate);
  return { number, state };
});
