// A guard against replayed webhooks remembers every delivery it has ever seen.
'use strict';

const { FIXED, payload, serve } = require('./service.js');

class ReplayGuard {
  constructor() {
    this.seenDeliveries = new Set(); // place
  }

  admit(delivery) {
    if (this.seenDeliveries.has(delivery)) return false;
    this.seenDeliveries.add(delivery); // place
    if (FIXED && this.seenDeliveries.size > 200) {
      this.seenDeliveries.delete(this.seenDeliveries.values().next().value);
    }
    return true;
  }
}

const guard = new ReplayGuard();

serve((number) => ({ admitted: guard.admit(`${number}:${payload(260)}`) }));
