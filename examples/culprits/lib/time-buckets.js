// A histogram of durations, in fixed buckets.
'use strict';

const BOUNDS = [0.5, 1, 2, 5, 10, 25, 50, 100, 250, 1000];

class TimeBuckets {
  constructor() {
    this.counts = new Uint32Array(BOUNDS.length + 1);
    this.sum = new Float64Array(1);
  }

  observe(milliseconds) {
    const bucket = BOUNDS.findIndex((bound) => milliseconds <= bound);
    this.counts[bucket === -1 ? BOUNDS.length : bucket] += 1;
    this.sum[0] += milliseconds;
  }

  slow() {
    return this.counts.subarray(5).reduce((sum, count) => sum + count, 0);
  }
}

module.exports = { TimeBuckets };
