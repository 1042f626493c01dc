// What may be booked depends on the seats left, so the schema of a booking is written anew each time: ajv keeps each of them.
'use strict';

const Ajv = require('ajv');
const { FIXED, payload, serve } = require('./service.js');
const { BoundedCache } = require('./lib/bounded-cache.js');
const { TimeBuckets } = require('./lib/time-buckets.js');
const { LastLines } = require('./lib/last-lines.js');

const ajv = new Ajv({ strict: false, messages: false }); // place

const ferries = new BoundedCache(30);
const checkTimes = new TimeBuckets();
const refusals = new LastLines(32);
const totals = { accepted: 0, refused: 0 };

/** What stays the same for all bookings is compiled once. */
const isContact = ajv.compile({
  type: 'object',
  required: ['name', 'phone'],
  properties: { name: { type: 'string', maxLength: 80 }, phone: { type: 'string' } },
});

/** At most so many seats in one booking: what is left, but never more than nine. */
function seatSchema(left) {
  return { properties: { seats: { maximum: Math.min(left, 9) } } }; // place
}

class BookingRules {
  constructor() {
    this.schemaByLimit = new Map(); // at most ten
  }

  schemaFor(left) {
    if (!FIXED) return seatSchema(left); // place
    const limit = Math.min(left, 9);
    let schema = this.schemaByLimit.get(limit);
    if (schema === undefined) {
      schema = seatSchema(limit);
      this.schemaByLimit.set(limit, schema);
    }
    return schema;
  }

  /** The reasons against a booking, none where it is right. */
  check(ferry, booking) {
    if (!isContact(booking.contact)) return ['contact'];
    return ajv.validate(this.schemaFor(ferry.left), booking) ? [] : ajv.errors.map((error) => error.instancePath); // place
  }
}

const rules = new BookingRules();

function ferryOf(number) {
  return ferries.get(`ferry-${number % 45}`, (name) => ({ name, left: 400, deckPlan: payload(160) }));
}

function book(ferry, booking) {
  const reasons = rules.check(ferry, booking); // place
  if (reasons.length > 0) {
    totals.refused += 1;
    refusals.add(`${ferry.name}: ${reasons.join()}`);
    return { booked: false, reasons };
  }
  totals.accepted += 1;
  ferry.left = ferry.left > booking.seats ? ferry.left - booking.seats : 400;
  return { booked: true, left: ferry.left };
}

serve((number) => {
  const began = performance.now();
  const booking = {
    seats: 1 + (number % 10),
    contact: { name: `Traveller ${number % 500}`, phone: payload(12) },
  };
  const answer = book(ferryOf(number), booking);
  checkTimes.observe(performance.now() - began);
  return { ...answer, ...totals, slow: checkTimes.slow() };
});
