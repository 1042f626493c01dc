'use strict';

/** The last bookings by number, for those who come back to change one. */
class BookingRepository {
  constructor(limit, thorough) {
    this.limit = limit;
    this.thorough = thorough;
    this.recent = new Map();
  }

  add(booking) {
    this.recent.set(booking.number, booking);
    if (this.recent.size <= this.limit) return;
    const [number, oldest] = this.recent.entries().next().value;
    this.recent.delete(number);
    if (this.thorough) oldest.cancel();
  }
}

module.exports = { BookingRepository };
