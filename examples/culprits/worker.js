// Jobs for a worker thread wait under their number; the worker does not answer those that need no answer.
'use strict';

const { Worker } = require('node:worker_threads');
const { FIXED, payload, serve } = require('./service.js');

const hasher = new Worker(
  `const { parentPort } = require('node:worker_threads');
   parentPort.on('message', ({ number, text, answer }) => {
     if (answer) parentPort.postMessage({ number, length: text.length });
   });`,
  { eval: true },
);
hasher.unref();

class HashJob { // place
  constructor(number) { // place
    this.number = number;
    this.text = payload();
    this.answer = number % 2 === 0;
  }
}

const unansweredJobs = new Map(); // place

hasher.on('message', ({ number, length }) => {
  unansweredJobs.get(number)(length);
  unansweredJobs.delete(number);
});

serve((number) => {
  const job = new HashJob(number); // place
  const done = new Promise((resolve) => {
    if (FIXED && !job.answer) resolve(0);
    else unansweredJobs.set(number, function jobDone(length) { // place
      job.length = length;
      resolve(length);
    });
  });
  hasher.postMessage(job);
  return job.answer ? done.then((length) => ({ length })) : { number };
});
