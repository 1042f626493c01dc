// A histogram of durations has the raw path as a label: a series for each order ever asked for.
'use strict';

const { FIXED, payload, serve } = require('./service.js');
const { LatencyWindow } = require('./lib/latency-window.js');

const BOUNDS = [1, 5, 10, 50, 100, 500];

class LabelledHistogram {
  constructor(name, labelNames) {
    this.name = name;
    this.labelNames = labelNames;
    this.seriesByLabels = {}; // place
  }

  observe(labels, value) {
    const key = this.labelNames.map((name) => `${name}:${labels[name]}`).join(',');
    let series = this.seriesByLabels[key];
    if (series === undefined) {
      series = { labels, sum: 0, count: 0, buckets: new Array(BOUNDS.length + 1).fill(0) }; // place
      this.seriesByLabels[key] = series; // place
    }
    series.sum += value;
    series.count += 1;
    const bucket = BOUNDS.findIndex((bound) => value <= bound);
    series.buckets[bucket < 0 ? BOUNDS.length : bucket] += 1;
  }
}

const requestDurations = new LabelledHistogram('http_request_duration', ['method', 'route', 'status']); // place
const window = new LatencyWindow(64);

serve(async (number) => {
  const begun = performance.now();
  const path = `/shops/${number % 20}/orders/${number}`;
  await new Promise(setImmediate);
  const took = performance.now() - begun;
  window.add(took);
  const route = FIXED ? path.replace(/\d+$/, ':order') : path;
  requestDurations.observe({ method: 'GET', route, status: number % 50 === 0 ? 404 : 200 }, took); // place
  return { path, text: payload(40) };
});
