// The carrier is down again. Each failure names the one before it as its cause, "so that the log has the whole story".
'use strict';

const { FIXED, payload, serve } = require('./service.js');
const { BoundedCache } = require('./lib/bounded-cache.js');
const rollingLog = require('./lib/rolling-log.js');

class CarrierFailure extends Error { // place
  constructor(question, cause) { // place
    super(`no answer from the carrier for parcel ${question.parcel}`, { cause }); // place
    this.name = 'CarrierFailure';
    this.question = question; // place
  }
}

class CarrierDesk { // place
  constructor() { // place
    this.lastFailure = null; // place
    this.failures = 0;
  }

  async ask(question) {
    try {
      return await this.connect(question);
    } catch (error) {
      this.failures += 1;
      this.lastFailure = error; // place
      return { estimate: 'unknown' };
    }
  }

  async connect(question) {
    await null;
    const cause = FIXED ? this.lastFailure?.message : this.lastFailure; // place
    throw new CarrierFailure(question, cause); // place
  }
}

const desk = new CarrierDesk(); // place
const depots = new BoundedCache(30);

serve(async (number) => {
  const depot = depots.get(number % 45, (key) => ({ key, street: payload(50) }));
  const { estimate } = await desk.ask({ parcel: `${number}-${payload(16)}`, depot: depot.key }); // place
  rollingLog.note(`asked for a parcel at ${depot.street}: ${estimate}`);
  return { number, estimate, failures: desk.failures };
});
