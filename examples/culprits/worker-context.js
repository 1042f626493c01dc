// A loop works jobs off and enters the context of each; what it entered before is what the next calls its outer one.
'use strict';

const { AsyncLocalStorage } = require('node:async_hooks');
const { FIXED, payload, serve } = require('./service.js');
const { note } = require('./lib/rolling-log.js');

const jobContext = new AsyncLocalStorage(); // place
const jobs = [];
let wakeLoop; // place

async function convert(job) {
  await null;
  const { remarks } = jobContext.getStore();
  if (job.number % 100 === 0) note(`converted ${job.number} ${remarks.length}`);
}

function contextOf(job) {
  return { job: job.number, remarks: payload(200), outer: jobContext.getStore() }; // place
}

async function workOff() {
  for (;;) {
    while (jobs.length === 0) await new Promise((resolve) => { wakeLoop = resolve; });
    const job = jobs.shift();
    if (FIXED) {
      await jobContext.run(contextOf(job), convert, job);
    } else {
      jobContext.enterWith(contextOf(job)); // place
      await convert(job); // place
    }
    job.done();
  }
}

workOff(); // place

serve((number) => new Promise((resolve) => {
  jobs.push({ number, done: () => resolve({ number }) });
  wakeLoop?.();
}));
