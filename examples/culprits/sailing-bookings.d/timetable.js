'use strict';

class Sailing { // place
  #bookings = []; // place

  constructor(leaves) { // place
    this.leaves = leaves;
  }

  addBooking(booking) {
    this.#bookings.push(booking); // place
  }

  removeBooking(booking) {
    const at = this.#bookings.indexOf(booking);
    if (at !== -1) this.#bookings.splice(at, 1);
  }

  get booked() {
    return this.#bookings.length;
  }
}

const sailings = ['06:15', '09:30', '12:45', '16:00', '19:15', '22:30'].map((leaves) => new Sailing(leaves)); // place

exports.sailing = (number) => sailings[number % sailings.length];
