// Each change of the plan makes a new one that knows the one before, for "undo"; nobody undoes twenty thousand changes.
'use strict';

const { FIXED, payload, serve } = require('./service.js');

class SeatingPlan { // place
  constructor(before, guest) { // place
    this.before = before;
    this.after = null;
    this.change = { guest, table: guest.length % 12 };
    if (before) before.after = this;
  }
}

const MOST = 80;

let currentPlan = new SeatingPlan(null, 'host'); // place
let oldestPlan = FIXED ? currentPlan : null;
let plans = 1;

function seat(guest) {
  currentPlan = new SeatingPlan(currentPlan, guest); // place
  plans += 1;
  if (FIXED && plans > MOST) {
    oldestPlan = oldestPlan.after;
    oldestPlan.before = null;
    plans -= 1;
  }
}

serve((number) => {
  seat(`${number} ${payload(150)}`);
  return { table: currentPlan.change.table };
});
