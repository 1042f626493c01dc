// Sailings and their bookings know each other, as in the picture on the wall. The repository gives bookings up after a
// while; the sailings, of which there are six a day and always the same, do not.
'use strict';

const { FIXED, payload, serve } = require('./service.js');
const { LatencyWindow } = require('./lib/latency-window.js');
const { Booking } = require('./sailing-bookings.d/booking.js');
const { BookingRepository } = require('./sailing-bookings.d/repository.js');
const timetable = require('./sailing-bookings.d/timetable.js');

const bookings = new BookingRepository(100, FIXED);
const spent = new LatencyWindow();

serve((number) => {
  const begun = performance.now();
  const sailing = timetable.sailing(number);
  const booking = new Booking(number, sailing, { vehicle: payload(12), passengers: payload(130) }); // place
  bookings.add(booking);
  spent.add(performance.now() - begun);
  return { number, leaves: sailing.leaves, median: spent.percentile(0.5) };
});
