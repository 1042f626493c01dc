// Samples of the event loop are kept in typed arrays of 512; a full one is followed by a new one, and the oldest is never used again.
'use strict';

const { FIXED, payload, serve } = require('./service.js');
const { count } = require('./lib/hourly-counts.js');

const CHUNK = 512;

class LoopSamples {
  constructor() {
    this.current = new Float64Array(CHUNK);
    this.used = 0;
    this.fullChunks = []; // place
  }

  add(value) {
    if (this.used === CHUNK) {
      this.fullChunks.push(this.current); // place
      this.current = FIXED && this.fullChunks.length > 4 ? this.fullChunks.shift() : new Float64Array(CHUNK); // place
      this.used = 0;
    }
    this.current[this.used++] = value;
  }
}

const loopSamples = new LoopSamples(); // place

serve(async (number) => {
  for (let step = 0; step < 24; step += 1) {
    const before = performance.now();
    if (step % 8 === 0) await new Promise(setImmediate);
    loopSamples.add(performance.now() - before); // place
  }
  count(number % 2 === 0 ? 'even' : 'odd');
  return { sampled: 24, text: payload(30) };
});
