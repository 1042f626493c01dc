// Requests wait for a warehouse that never says it is ready; the service answers after its timeout, the wait goes on.
'use strict';

const { FIXED, payload, serve } = require('./service.js');

const warehouseReady = new Promise(() => {}); // place

async function reserveStock(number) { // place
  const reservation = { number, note: payload() };
  await warehouseReady; // place
  return reservation;
}

serve((number) => {
  if (!FIXED) void reserveStock(number);
  return { number, reserved: false };
});
