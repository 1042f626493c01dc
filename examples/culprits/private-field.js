// A batch of meter readings is written every ten readings, and is not emptied when it is written.
'use strict';

const { FIXED, payload, serve } = require('./service.js');
const { borrow, giveBack } = require('./lib/scratch-pool.js');

class MeterReading { // place
  constructor(meter, value) { // place
    this.meter = meter;
    this.value = value;
    this.signature = payload(96);
  }
}

class ReadingBatch {
  #items = []; // place
  #written = 0;

  add(reading) {
    this.#items.push(reading); // place
    if (this.#items.length - this.#written >= 10) this.#write();
  }

  get written() {
    return this.#written;
  }

  #write() {
    const scratch = borrow();
    for (const { value } of this.#items.slice(this.#written)) scratch.writeDoubleLE(value, 0);
    giveBack(scratch);
    this.#written = this.#items.length;
    if (FIXED) {
      this.#items = [];
      this.#written = 0;
    }
  }
}

const readingBatch = new ReadingBatch(); // place

serve((number) => {
  readingBatch.add(new MeterReading(`meter-${number % 500}`, number / 3)); // place
  return { written: readingBatch.written };
});
