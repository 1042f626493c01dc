// The plan of the berths is a tree of stays ordered by the hour they begin; those long over are to be cut off its left side,
// but what does so counts in days where the plan has hours, and finds none.
'use strict';

const { FIXED, payload, serve } = require('./service.js');
const { LatencyWindow } = require('./lib/latency-window.js');
const rollingLog = require('./lib/rolling-log.js');

class Stay { // place
  constructor(begins, ends, vessel) { // place
    this.begins = begins; // place
    this.ends = ends;
    this.vessel = vessel;
    this.weight = Math.random();
    this.earlier = null; // place
    this.later = null; // place
  }
}

/** A treap: halves at a time before and from a time, and is put together again. */
class BerthPlan { // place
  constructor() { // place
    this.rootStay = null; // place
  }

  static split(stay, time) {
    if (stay === null) return [null, null];
    if (stay.begins < time) {
      const [before, after] = BerthPlan.split(stay.later, time);
      stay.later = before; // place
      return [stay, after];
    }
    const [before, after] = BerthPlan.split(stay.earlier, time);
    stay.earlier = after; // place
    return [before, stay];
  }

  static join(before, after) {
    if (before === null) return after;
    if (after === null) return before;
    if (before.weight > after.weight) {
      before.later = BerthPlan.join(before.later, after); // place
      return before;
    }
    after.earlier = BerthPlan.join(before, after.earlier); // place
    return after;
  }

  book(stay) {
    const [before, after] = BerthPlan.split(this.rootStay, stay.begins);
    this.rootStay = BerthPlan.join(BerthPlan.join(before, stay), after); // place
  }

  forgetBefore(hour) {
    this.rootStay = BerthPlan.split(this.rootStay, hour)[1];
  }
}

const OPENING_HOUR = 490_000;
const plan = new BerthPlan(); // place
const durations = new LatencyWindow();

serve((number) => {
  const started = performance.now();
  const now = OPENING_HOUR + number;
  const hour = now + Math.floor(Math.random() * 20);
  plan.book(new Stay(hour, hour + 6, { call: payload(8), remarks: payload(160) })); // place
  plan.forgetBefore(FIXED ? now - 60 : (now - 60) / 24);
  durations.add(performance.now() - started);
  rollingLog.note(`booked from hour ${hour}`);
  return { hour, median: durations.percentile(0.5) };
});
