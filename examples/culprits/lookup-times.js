// Who calls a partner wants to know how long its name took to look up: an observer for each call, none of them disconnected.
'use strict';

const { PerformanceObserver } = require('node:perf_hooks');
const { FIXED, payload, serve } = require('./service.js');
const { count } = require('./lib/hourly-counts.js');
const { SessionCache } = require('./lib/session-cache.js');

const addresses = new SessionCache(40);

class LookupTimes { // place
  #observer;

  constructor(host, call) { // place
    this.host = host;
    this.call = call;
    this.slowest = 0;
    this.#observer = new PerformanceObserver((list) => { // place
      for (const entry of list.getEntries()) {
        if (entry.detail.hostname === this.host) this.slowest = Math.max(this.slowest, entry.duration);
      }
    });
    this.#observer.observe({ entryTypes: ['dns'] }); // place
  }

  end() {
    if (FIXED) this.#observer.disconnect();
    return this.slowest;
  }
}

/** Stands for the call; the name is looked up only if the address is not known. */
async function callPartner(host) {
  const address = addresses.touch(host, (name) => ({ name, address: `127.0.0.${1 + (name.length % 200)}` }));
  await new Promise(setImmediate);
  return { address: address.address, status: 200 };
}

serve(async (number) => {
  const host = `partner-${number % 60}.example`;
  const lookups = new LookupTimes(host, { number, trace: payload(100) }); // place
  const { status } = await callPartner(host);
  count(status);
  return { status, lookup: lookups.end() };
});
