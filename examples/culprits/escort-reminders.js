// Museum escorts are reminded two hours after a group has gone in. Groups are out again long before that, and the reminder
// is told so only when it wakes.
'use strict';

const { setTimeout: sleep } = require('node:timers/promises');
const { FIXED, payload, serve } = require('./service.js');
const shortLived = require('./lib/short-lived.js');
const rollingLog = require('./lib/rolling-log.js');

const TWO_HOURS = 2 * 60 * 60 * 1000;
const lockers = shortLived(30_000, 80);

class VisitorGroup { // place
  constructor(number) { // place
    this.number = number; // place
    this.names = payload(140);
    this.inside = true;
    this.leaving = FIXED ? new AbortController() : null;
  }

  leave() {
    this.inside = false;
    this.leaving?.abort();
  }
}

async function remindEscort(group) { // place
  try {
    await sleep(TWO_HOURS, undefined, { ref: false, signal: group.leaving?.signal }); // place
  } catch {
    return;
  }
  if (group.inside) rollingLog.note(`group ${group.number} is still inside`);
}

serve((number) => {
  const group = new VisitorGroup(number); // place
  remindEscort(group); // place
  lockers.put(number % 50, { hung: payload(20) });
  rollingLog.note(`group ${number} has gone in`);
  group.leave();
  lockers.take((number + 25) % 50);
  return { number, inside: group.inside };
});
