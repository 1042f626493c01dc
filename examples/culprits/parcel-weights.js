// The median weight of parcels is told by a digest. It was set up for scales that know a few classes of weight, and so to be
// exact: each weight it has ever seen is a node of its own. The scales of today tell milligrams.
'use strict';

const { TDigest } = require('tdigest');
const { FIXED, serve } = require('./service.js');
const { TimeBuckets } = require('./lib/time-buckets.js');
const { count } = require('./lib/hourly-counts.js');

class WeightReport { // place
  constructor() { // place
    this.digest = FIXED ? new TDigest() : new TDigest(false); // place
    this.median = 0;
    this.parcels = 0;
  }

  weigh(kilograms) {
    this.digest.push(kilograms); // place
    this.parcels += 1;
    if (this.parcels % 1000 === 0) this.median = this.digest.percentile(0.5);
  }
}

const weightReport = new WeightReport(); // place
const spent = new TimeBuckets();

serve((number) => {
  const begun = performance.now();
  const kilograms = 30 * Math.random() ** 2;
  weightReport.weigh(kilograms); // place
  weightReport.weigh(kilograms * 1.0625); // place
  count(kilograms > 10 ? 'heavy' : 'light');
  spent.observe(performance.now() - begun);
  return { number, kilograms, median: weightReport.median, slow: spent.slow() };
});
