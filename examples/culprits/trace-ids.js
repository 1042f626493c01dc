// The trace identifier is cut out of each body and kept for the support page; V8 keeps the body with it.
'use strict';

const { FIXED, payload, serve } = require('./service.js');
const { LatencyWindow } = require('./lib/latency-window.js');

const tracedIds = []; // place
const sizes = new LatencyWindow();

serve((number) => {
  const body = payload(2400);
  sizes.add(body.length + number);
  tracedIds.push(body.slice(100, 136)); // place
  if (FIXED && tracedIds.length > 60) tracedIds.shift();
  return { trace: tracedIds.at(-1) };
});
