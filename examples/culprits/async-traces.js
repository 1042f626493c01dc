// Each asynchronous step knows of the request it is part of, by its number; that the step is over, nobody hears.
'use strict';

const { createHook, executionAsyncId, triggerAsyncId } = require('node:async_hooks');
const { FIXED, payload, serve } = require('./service.js');
const { count } = require('./lib/hourly-counts.js');
const { note } = require('./lib/rolling-log.js');

class RequestTrace { // place
  constructor(number) { // place
    this.number = number;
    this.steps = 0;
    this.id = payload(180);
  }
}

const traceByAsyncId = new Map(); // place

const hooks = {
  init(asyncId, _type, triggerId) { // place
    const trace = traceByAsyncId.get(triggerId) ?? traceByAsyncId.get(executionAsyncId());
    if (trace === undefined || trace.over) return;
    traceByAsyncId.set(asyncId, trace); // place
  },
};
if (FIXED) hooks.destroy = (asyncId) => traceByAsyncId.delete(asyncId);
createHook(hooks).enable(); // place

function currentTrace() {
  return traceByAsyncId.get(executionAsyncId()) ?? traceByAsyncId.get(triggerAsyncId());
}

async function query(text) {
  await new Promise(setImmediate);
  const trace = currentTrace();
  if (trace !== undefined) trace.steps += 1;
  count('query');
  return text.length % 7;
}

serve(async (number) => {
  const root = executionAsyncId();
  const trace = new RequestTrace(number); // place
  traceByAsyncId.set(root, trace); // place
  const rows = await query(`select * from parcel where id = ${number}`);
  if (number % 400 === 0) note(`${trace.id.slice(0, 8)}: ${trace.steps} steps`);
  trace.over = true;
  traceByAsyncId.delete(root);
  return { rows, steps: trace.steps };
});
