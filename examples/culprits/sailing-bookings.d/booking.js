'use strict';

/** A booking is of one sailing, and is listed there. */
class Booking { // place
  constructor(number, sailing, details) { // place
    this.number = number; // place
    this.details = details;
    this.sailing = sailing;
    sailing.addBooking(this); // place
  }

  cancel() {
    this.sailing.removeBooking(this);
    this.sailing = null;
  }
}

module.exports = { Booking };
