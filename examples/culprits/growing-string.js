// The protocol of the service is one string, to which every request adds its line; it is cut at midnight, which a restart should bring sooner.
'use strict';

const { FIXED, payload, serve } = require('./service.js');
const { SessionCache } = require('./lib/session-cache.js');

const clerks = new SessionCache(90);

class DutyProtocol {
  constructor() {
    this.fullText = ''; // place
    this.day = new Date().getUTCDate();
  }

  write(line) {
    this.fullText += `${line}\n`; // place
    if (FIXED && this.fullText.length > 20_000) this.fullText = this.fullText.slice(-5_000);
  }

  get length() {
    return this.fullText.length;
  }
}

const dutyProtocol = new DutyProtocol(); // place

serve((number) => {
  const clerk = clerks.touch(`clerk-${number % 200}`, (name) => ({ name, desk: payload(12) }));
  dutyProtocol.write(`${number} ${clerk.name} at ${clerk.desk}: ${payload(150)}`); // place
  return { length: dutyProtocol.length };
});
