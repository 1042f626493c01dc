// Two changes of one order must not meet: each order has a lock of its own, which is opened and never thrown away.
'use strict';

const { Mutex } = require('async-mutex');
const { FIXED, payload, serve } = require('./service.js');
const { count } = require('./lib/hourly-counts.js');
const { note } = require('./lib/rolling-log.js');

class OrderLocks { // place
  #lockByOrder = new Map(); // place

  async exclusively(order, work) {
    let lock = this.#lockByOrder.get(order);
    if (lock === undefined) {
      lock = new Mutex(); // place
      this.#lockByOrder.set(order, lock); // place
    }
    const release = await lock.acquire();
    try {
      return await work();
    } finally {
      release();
      if (FIXED && !lock.isLocked()) this.#lockByOrder.delete(order);
    }
  }
}

const orderLocks = new OrderLocks(); // place
const shelves = Array.from({ length: 30 }, (_, shelf) => ({ shelf, pieces: 1000, label: payload(30) }));

async function changeOrder(order, pieces) {
  const shelf = shelves[pieces % shelves.length];
  await new Promise(setImmediate);
  shelf.pieces = shelf.pieces > pieces ? shelf.pieces - pieces : 1000;
  return { order, shelf: shelf.shelf, left: shelf.pieces };
}

serve(async (number) => {
  const order = `order-${number}-${payload(60)}`;
  // The customer's browser sends a change twice at times.
  const changes = [orderLocks.exclusively(order, () => changeOrder(order, number % 12))]; // place
  if (number % 8 === 0) changes.push(orderLocks.exclusively(order, () => changeOrder(order, 1)));
  const [first] = await Promise.all(changes);
  count('changed');
  if (number % 100 === 0) note(`order ${number} changed ${changes.length} times`);
  return first;
});
