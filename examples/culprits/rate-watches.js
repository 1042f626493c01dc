// An effector store holds the rate of the day. Each page watches it to show a change at once; a page that is left calls
// nothing that would end that.
'use strict';

const { createEvent, createStore } = require('effector');
const { FIXED, payload, serve } = require('./service.js');
const { SessionCache } = require('./lib/session-cache.js');
const rollingLog = require('./lib/rolling-log.js');

const rateSet = createEvent(); // place
const dailyRate = createStore(1.25).on(rateSet, (_, rate) => rate); // place
rateSet(1.31);

const visitors = new SessionCache(80);

class RatePage { // place
  constructor(number, visitor) { // place
    this.number = number; // place
    this.visitor = visitor;
    this.layout = payload(100);
    this.rate = 0;
    this.stopWatching = dailyRate.updates.watch((rate) => { // place
      this.show(rate);
    });
  }

  show(rate) {
    this.rate = rate;
    rollingLog.note(`page ${this.number} shows ${rate}`);
  }

  leave() {
    if (FIXED) this.stopWatching();
    this.rate = null;
  }
}

serve((number) => {
  const visitor = visitors.touch(number % 120, (token) => ({ token, name: payload(20) }));
  const page = new RatePage(number, visitor.name); // place
  page.show(dailyRate.getState());
  const { rate } = page;
  page.leave();
  return { number, rate };
});
