// The duration of each quote is measured with marks, which stay in the timeline of the process.
'use strict';

const { performance } = require('node:perf_hooks');
const { FIXED, payload, serve } = require('./service.js');
const { LatencyWindow } = require('./lib/latency-window.js');

const quoteTimes = new LatencyWindow();

serve((number) => {
  const begin = `quote-begin-${number}`;
  performance.mark(begin, { detail: { customer: payload(100) } }); // place
  const price = payload(64).length + number;
  const measured = performance.measure(`quote-${number}`, begin); // place
  quoteTimes.add(measured.duration);
  if (FIXED) {
    performance.clearMarks(begin);
    performance.clearMeasures(`quote-${number}`);
  }
  return { price, p90: quoteTimes.percentile(0.9) };
});
