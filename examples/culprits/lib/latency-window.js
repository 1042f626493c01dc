// The last 256 durations, for a percentile in the health page.
'use strict';

class LatencyWindow {
  constructor(size = 256) {
    this.samples = new Float64Array(size);
    this.count = 0;
  }

  add(milliseconds) {
    this.samples[this.count % this.samples.length] = milliseconds;
    this.count += 1;
  }

  percentile(share) {
    const sorted = this.samples.slice(0, Math.min(this.count, this.samples.length)).sort();
    return sorted[Math.floor(share * (sorted.length - 1))] ?? 0;
  }
}

module.exports = { LatencyWindow };
