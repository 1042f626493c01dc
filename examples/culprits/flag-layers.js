// Feature flags: a roll-out lays its changes over the flags in force, and what is below is needed no longer but is kept.
'use strict';

const { FIXED, payload, serve } = require('./service.js');
const { count } = require('./lib/hourly-counts.js');
const { note } = require('./lib/rolling-log.js');

const DEFAULTS = { checkout: 'old', search: 'plain', banner: false, share: 0, reason: 'default' };

class FlagBook { // place
  #inForce = Object.create(DEFAULTS); // place
  #rollOuts = 0;

  /** Changes flags; those that the change does not name stay what they are. */
  rollOut(change) {
    this.#rollOuts += 1;
    this.#inForce = FIXED
      ? Object.assign(Object.create(DEFAULTS), this.#inForce, change)
      : Object.assign(Object.create(this.#inForce), change); // place
    if (this.#rollOuts % 250 === 0) note(`roll-out ${this.#rollOuts}: ${this.#inForce.reason.slice(0, 12)}`);
  }

  /** What a page needs to know. */
  get view() {
    const { checkout, search, share } = this.#inForce;
    return { checkout, search, share };
  }
}

const flagBook = new FlagBook(); // place

/** The share of visitors that get the new checkout follows how well it goes. */
function adjust(number) {
  return { // place
    checkout: number % 5 === 0 ? 'new' : 'old',
    search: number % 2 === 0 ? 'plain' : 'fuzzy',
    banner: number % 3 === 0,
    share: number % 100,
    reason: payload(200),
  };
}

serve((number) => {
  flagBook.rollOut(adjust(number)); // place
  const { checkout, search, share } = flagBook.view;
  count(checkout);
  return { checkout, search, share };
});
