// A getter that computes once: what it computed is kept by number beside the prototype, longer than the bills live.
'use strict';

const { FIXED, payload, serve } = require('./service.js');

function lazyGetter(prototype, name, compute) {
  const computedByNumber = FIXED ? new WeakMap() : new Map(); // place
  Object.defineProperty(prototype, name, {
    get() {
      const key = FIXED ? this : this.number;
      let value = computedByNumber.get(key);
      if (value === undefined) {
        value = compute(this);
        computedByNumber.set(key, value); // place
      }
      return value;
    },
  });
}

class FreightBill {
  constructor(number) {
    this.number = number;
    this.lines = [12, 30, number % 9];
  }
}

lazyGetter(FreightBill.prototype, 'freightTotals', (bill) => { // place
  const net = bill.lines.reduce((sum, line) => sum + line, 0);
  return { net, gross: net * 1.19, words: payload(180) }; // place
});

serve((number) => {
  const bill = new FreightBill(number);
  return { net: bill.freightTotals.net, gross: bill.freightTotals.gross };
});
