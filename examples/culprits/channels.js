// Who follows a parcel subscribes to the channel of its depot; the function that ends the subscription is thrown away.
'use strict';

const { FIXED, payload, serve } = require('./service.js');
const { note } = require('./lib/rolling-log.js');

class DepotBroker {
  constructor() {
    this.byDepot = new Map();
  }

  subscribe(depot, handler) {
    let handlers = this.byDepot.get(depot);
    if (handlers === undefined) this.byDepot.set(depot, (handlers = []));
    handlers.push(handler); // place
    return () => {
      const position = handlers.indexOf(handler);
      if (position >= 0) handlers.splice(position, 1);
    };
  }

  publish(depot, message) {
    for (const handler of this.byDepot.get(depot) ?? []) handler(message);
  }
}

const depotBroker = new DepotBroker(); // place
depotBroker.subscribe('head-office', (message) => note(message.text));

serve((number) => {
  const view = { parcel: `P${number}`, moves: [payload(140)] }; // place
  const unsubscribe = depotBroker.subscribe(`depot-${number % 24}`, function showParcelMove(message) { // place
    view.moves.push(message.text);
  });
  depotBroker.publish('head-office', { text: `${view.parcel} is looked at` });
  if (FIXED) unsubscribe();
  return { parcel: view.parcel, moves: view.moves.length };
});
