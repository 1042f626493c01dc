// Rate limits by client address in a plain object: an address that was seen once is kept for ever.
'use strict';

const { FIXED, payload, serve } = require('./service.js');

const limitsByAddress = Object.create(null); // place

function countCall(address) {
  const limit = (limitsByAddress[address] ??= { calls: 0, since: Date.now(), note: payload(150) }); // place
  limit.calls += 1;
  return limit.calls;
}

serve((number) => {
  const address = `10.${(number >> 16) & 255}.${(number >> 8) & 255}.${number & 255}`;
  const calls = countCall(address);
  if (FIXED) delete limitsByAddress[address];
  return { calls };
});
