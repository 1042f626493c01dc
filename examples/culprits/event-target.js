// A board listens to stock changes by a bound method and wants to stop by another bound method, which is not the same function.
'use strict';

const { FIXED, payload, serve } = require('./service.js');
const { note } = require('./lib/rolling-log.js');

class StockChanges extends EventTarget {}

const stockChanges = new StockChanges(); // place
require('node:events').setMaxListeners(0, stockChanges);

class StockBoard { // place
  constructor(number) { // place
    this.number = number;
    this.rows = [payload(110)];
    if (FIXED) this.refresh = this.refresh.bind(this);
  }

  refresh(event) {
    this.rows.push(event.type);
  }

  open() {
    stockChanges.addEventListener('change', FIXED ? this.refresh : this.refresh.bind(this)); // place
  }

  close() {
    stockChanges.removeEventListener('change', FIXED ? this.refresh : this.refresh.bind(this));
  }
}

serve(async (number) => {
  const board = new StockBoard(number); // place
  board.open(); // place
  await null;
  board.close();
  note(`board ${number} closed`);
  return { rows: board.rows.length };
});
