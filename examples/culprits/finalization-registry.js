// A connection that nobody uses any longer is to be closed by a FinalizationRegistry, but what the registry keeps for it holds it.
'use strict';

const { FIXED, payload, serve } = require('./service.js');
const { count } = require('./lib/hourly-counts.js');
const { SessionCache } = require('./lib/session-cache.js');

let openConnections = 0;
const tenants = new SessionCache(80);

function closeSlot(slot) {
  openConnections -= 1;
  count(`closed on line ${slot % 4}`);
}

class TenantConnection { // place
  constructor(slot) { // place
    this.slot = slot;
    this.greeting = payload(160);
    openConnections += 1;
  }

  close() {
    closeSlot(this.slot);
  }
}

const abandonedConnections = new FinalizationRegistry((release) => release()); // place

function closerOf(connection) {
  return function closeAbandoned() { // place
    connection.close();
  };
}

function closerOfSlot(slot) {
  return function closeAbandonedSlot() {
    closeSlot(slot);
  };
}

function connect(number) {
  const connection = new TenantConnection(number); // place
  abandonedConnections.register(connection, FIXED ? closerOfSlot(number) : closerOf(connection)); // place
  return connection;
}

serve((number) => {
  const tenant = tenants.touch(`tenant-${number % 300}`, (name) => ({ name, plan: payload(30) }));
  const connection = connect(number);
  return { tenant: tenant.name, greeting: connection.greeting.slice(0, 8), openConnections };
});
