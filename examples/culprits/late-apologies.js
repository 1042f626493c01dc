// Each answer races against an apology that is due in half an hour; the answer is there at once, and the timer of the apology runs on.
'use strict';

const { setTimeout: later } = require('node:timers/promises');
const { FIXED, payload, serve } = require('./service.js');
const { count } = require('./lib/hourly-counts.js');
const { SessionCache } = require('./lib/session-cache.js');

const HALF_AN_HOUR = 30 * 60 * 1000;
const visitors = new SessionCache(60);

class LateApology { // place
  constructor(number) { // place
    this.number = number;
    this.text = `we are sorry, ${payload(260)}`;
  }
}

async function searchArchive(number) {
  await new Promise(setImmediate);
  return { number, hits: number % 17 };
}

async function orApologise(search, apology) {
  if (!FIXED) return Promise.race([search, later(HALF_AN_HOUR, apology, { ref: false })]); // place
  const answered = new AbortController();
  const late = later(HALF_AN_HOUR, apology, { ref: false, signal: answered.signal });
  return Promise.race([search, late]).finally(() => answered.abort());
}

serve(async (number) => {
  const visitor = visitors.touch(`visitor ${number % 200}`, (token) => ({ token, first: number }));
  const answer = await orApologise(searchArchive(number), new LateApology(number)); // place
  count(answer instanceof LateApology ? 'late' : 'in time');
  return { ...answer, visitor: visitor.token };
});
