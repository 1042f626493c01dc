// One worker sieves the samples as they come. It is written as a function that sieves one and then calls itself, and as it
// is asynchronous, each call waits for all that come after it.
'use strict';

const { FIXED, payload, serve } = require('./service.js');
const { LatencyWindow } = require('./lib/latency-window.js');
const scratchPool = require('./lib/scratch-pool.js');

class SampleBelt { // place
  constructor() { // place
    this.waitingSamples = [];
    this.wakeSieve = null; // place
  }

  lay(sample) {
    this.waitingSamples.push(sample);
    this.wakeSieve?.();
    this.wakeSieve = null;
  }

  async take() { // place
    while (this.waitingSamples.length === 0) {
      await new Promise((resolve) => { // place
        this.wakeSieve = resolve; // place
      });
    }
    return this.waitingSamples.shift();
  }
}

const belt = new SampleBelt(); // place
const grainTimes = new LatencyWindow();

function sieve(sample) {
  const scratch = scratchPool.borrow();
  const length = scratch.write(sample.grains);
  let coarse = 0;
  for (let at = 0; at < length; at++) if (scratch[at] > 96) coarse += 1;
  scratchPool.giveBack(scratch);
  grainTimes.add(performance.now() - sample.laid);
  sample.done({ coarse, fine: length - coarse });
}

async function sieveNext() { // place
  const sample = await belt.take(); // place
  sieve(sample);
  return sieveNext(); // place
}

async function sieveAll() {
  for (;;) sieve(await belt.take());
}

const sieving = FIXED ? sieveAll() : sieveNext(); // place
sieving.catch((error) => { // place
  throw error;
});

serve(async (number) => {
  const grains = payload(200);
  const counts = await new Promise((done) => belt.lay({ grains, laid: performance.now(), done }));
  return { number, ...counts, median: grainTimes.percentile(0.5) };
});
