// Who may read a shipment is metadata of its controller, by reflect-metadata: noted for the request, under the key of the
// request. The metadata hangs at the class in a weak map, but the class is there for as long as the program.
'use strict';

require('reflect-metadata');
const { FIXED, payload, serve } = require('./service.js');
const { SessionCache } = require('./lib/session-cache.js');
const rollingLog = require('./lib/rolling-log.js');

class AccessNote { // place
  constructor(reader, shipment) { // place
    this.reader = reader; // place
    this.shipment = shipment;
    this.grant = payload(140);
  }
}

class ShipmentController { // place
  show(shipment, request) {
    const note = Reflect.getMetadata(`access:${request}`, ShipmentController);
    if (note?.shipment !== shipment) throw new Error('not for you');
    return `shipment ${shipment}, ${note.grant.length}`;
  }
}

function allow(request, reader, shipment) { // place
  Reflect.defineMetadata(`access:${request}`, new AccessNote(reader, shipment), ShipmentController); // place
}

function done(request) {
  if (FIXED) Reflect.deleteMetadata(`access:${request}`, ShipmentController);
}

const controller = new ShipmentController();
const readers = new SessionCache(70);

serve((number) => {
  const request = `${number}-${payload(10)}`;
  const reader = readers.touch(number % 110, (token) => ({ token, name: payload(20) }));
  allow(request, reader.name, number % 500); // place
  const text = controller.show(number % 500, request);
  done(request);
  rollingLog.note(text);
  return { number, text };
});
