// Each piece of work races against the one promise that says the service is about to stop.
'use strict';

const { FIXED, payload, serve } = require('./service.js');
const { LatencyWindow } = require('./lib/latency-window.js');
const shortLived = require('./lib/short-lived.js');

const renderTimes = new LatencyWindow();
const rendered = shortLived(1_000, 50);

let stopNow;
const aboutToStop = new Promise((resolve) => { // place
  stopNow = resolve;
});
const stopHandlers = new Set();
process.once('SIGTERM', () => {
  stopNow('stopped');
  for (const handler of stopHandlers) handler('stopped');
});

async function renderLabel(number) {
  const begun = performance.now();
  await new Promise(setImmediate);
  renderTimes.add(performance.now() - begun);
  return `label ${number} ${payload(400)}`;
}

async function unlessStopped(work) {
  if (!FIXED) return Promise.race([aboutToStop, work]); // place
  let handler;
  const stopped = new Promise((resolve) => stopHandlers.add((handler = resolve)));
  return Promise.race([stopped, work]).finally(() => stopHandlers.delete(handler));
}

serve(async (number) => {
  const label = await unlessStopped(renderLabel(number)); // place
  rendered.put(number % 80, label.length);
  return { label: label.slice(0, 12) };
});
