// A seat is held for a visitor until a time; holds wait in a heap by that time and are listed by visitor. Who buys is only marked.
'use strict';

const { FIXED, payload, serve } = require('./service.js');
const { count } = require('./lib/hourly-counts.js');
const { SessionCache } = require('./lib/session-cache.js');

const TWO_HOURS = 7_200_000;

class SeatHold { // place
  constructor(number, visitor) { // place
    this.number = number;
    this.visitor = visitor;
    this.until = Date.now() + TWO_HOURS;
    this.settled = false;
    this.remarks = payload(180);
  }
}

/** The hold that ends first is at the front. */
class ExpiryHeap { // place
  constructor() { // place
    this.slots = []; // place
  }

  add(hold) {
    const { slots } = this;
    let at = slots.push(hold) - 1; // place
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (slots[parent].until <= hold.until) break;
      slots[at] = slots[parent];
      at = parent;
    }
    slots[at] = hold;
  }

  /** Takes out what is over, or was settled and has come to the front. */
  sweep(now) {
    const { slots } = this;
    while (slots.length > 0 && (slots[0].until <= now || (FIXED && slots[0].settled))) this.#removeFirst();
  }

  #removeFirst() {
    const { slots } = this;
    const last = slots.pop();
    if (slots.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= slots.length) break;
      if (child + 1 < slots.length && slots[child + 1].until < slots[child].until) child += 1;
      if (last.until <= slots[child].until) break;
      slots[at] = slots[child];
      at = child;
    }
    slots[at] = last;
  }
}

const expiringHolds = new ExpiryHeap(); // place
const holdsByVisitor = new Map(); // place
const halls = new SessionCache(20);

function holdSeat(number, visitor) {
  const hold = new SeatHold(number, visitor); // place
  expiringHolds.add(hold); // place
  const held = holdsByVisitor.get(visitor) ?? new Set(); // place
  holdsByVisitor.set(visitor, held.add(hold)); // place
  return hold;
}

function buySeat(hold) {
  hold.settled = true;
  count('bought');
  if (FIXED) holdsByVisitor.get(hold.visitor).delete(hold);
}

serve(async (number) => {
  expiringHolds.sweep(Date.now());
  const hall = halls.touch(`hall-${number % 30}`, (name) => ({ name, plan: payload(90) }));
  const hold = holdSeat(number, `visitor-${number % 250}`); // place
  await new Promise(setImmediate);
  buySeat(hold);
  return { hall: hall.name, seat: hold.number % 800 };
});
