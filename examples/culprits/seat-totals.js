// A booking page works out its price from the live tariff with a mobx `computed`; it is kept alive, so the tariff keeps it.
'use strict';

const { computed, observable, runInAction } = require('mobx');
const { FIXED, payload, serve } = require('./service.js');
const { BoundedCache } = require('./lib/bounded-cache.js');
const { TimeBuckets } = require('./lib/time-buckets.js');
const { LastLines } = require('./lib/last-lines.js');

/** What seats cost now: the revenue desk changes it through the day. */
const tariff = observable({ // place
  base: 4200,
  surcharge: 0,
  currency: 'EUR',
});

const halls = new BoundedCache(40);
const pageTimes = new TimeBuckets();
const changes = new LastLines();
const soldByRow = new Uint32Array(30);

function hallOf(number) {
  return halls.get(`hall-${number % 60}`, (name) => ({ name, rows: 30, plan: payload(200) }));
}

class BookingPage { // place
  constructor(hall, seats, voucher) {
    this.hall = hall;
    this.seats = seats;
    this.voucher = voucher;
    // Asked for several times while the page is rendered: should be worked out once.
    this.total = computed( // place
      () => this.seats.reduce((sum, seat) => sum + tariff.base + tariff.surcharge + 10 * (30 - seat.row), 0), // place
      { keepAlive: !FIXED }, // place
    );
  }

  render() {
    const rows = this.seats.map((seat) => `<li>row ${seat.row}, seat ${seat.place}</li>`).join('');
    const deposit = Math.ceil(this.total.get() / 5); // place
    return `<h1>${this.hall.name}</h1><ul>${rows}</ul><p>${this.total.get()} ${tariff.currency}, now ${deposit}</p>`;
  }
}

function chooseSeats(number) {
  const row = number % 30;
  soldByRow[row] += 2;
  return [{ row, place: number % 18 }, { row, place: (number % 18) + 1 }]; // place
}

serve((number) => {
  const began = performance.now();
  if (number % 900 === 0) {
    runInAction(() => {
      tariff.surcharge = (number / 900) % 4 === 0 ? 0 : 150;
    });
    changes.add(`surcharge ${tariff.surcharge}`);
  }
  const page = new BookingPage(hallOf(number), chooseSeats(number), payload(80)); // place
  const html = page.render(); // place
  pageTimes.observe(performance.now() - began);
  return { html, slow: pageTimes.slow(), change: changes.latest() };
});
