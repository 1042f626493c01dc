// A booking is to be noted once it has been validated, by whoever made it. The hook for that is given to the schema with each
// booking; as the model was compiled before, it never runs, and the schema keeps it.
'use strict';

const mongoose = require('mongoose');
const { FIXED, payload, serve } = require('./service.js');
const { LatencyWindow } = require('./lib/latency-window.js');
const { LastLines } = require('./lib/last-lines.js');

const lines = new LastLines(48);
const spent = new LatencyWindow();

const bookingSchema = new mongoose.Schema({ // place
  number: { type: Number, required: true },
  cabin: { type: String, enum: ['inside', 'outside'] },
  remarks: String,
});
if (FIXED) {
  bookingSchema.post('validate', function noteBooking() {
    lines.add(`booking ${this.number} is fine`);
  });
}
const Booking = mongoose.model('Booking', bookingSchema);

function noteWhenFine(clerk) { // place
  if (FIXED) return;
  bookingSchema.post('validate', function noteForClerk() { // place
    lines.add(`${clerk.name} made booking ${this.number}`);
  });
}

serve((number) => {
  const begun = performance.now();
  noteWhenFine({ name: `clerk ${number % 12}`, desk: payload(120) }); // place
  const booking = new Booking({ number, cabin: number % 3 ? 'inside' : 'outside', remarks: payload(40) });
  const wrong = booking.validateSync();
  spent.add(performance.now() - begun);
  return { number, fine: wrong === undefined, median: spent.percentile(0.5), last: lines.latest() };
});
