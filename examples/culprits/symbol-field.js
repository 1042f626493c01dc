// A desk keeps its holds under a symbol, so that no serializer sees them; nobody else does either.
'use strict';

const { FIXED, payload, serve } = require('./service.js');
const { count } = require('./lib/hourly-counts.js');

const kHolds = Symbol('holds of deposits');

class DepositHold { // place
  constructor(number, until) { // place
    this.number = number;
    this.until = until;
    this.reason = payload(120);
  }
}

class CashDesk { // place
  constructor() { // place
    this[kHolds] = []; // place
    this.name = 'main hall';
  }

  hold(number) {
    this[kHolds].push(new DepositHold(number, Date.now() + 1000)); // place
    if (FIXED && this[kHolds].length > 70) this[kHolds].shift();
    count('hold');
  }
}

const cashDesk = new CashDesk(); // place

serve((number) => {
  cashDesk.hold(number);
  return cashDesk;
});
