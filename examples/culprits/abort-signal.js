// Every request listens to the one signal that says the service shuts down, and is not taken off it when it is answered.
'use strict';

const { FIXED, payload, serve } = require('./service.js');

const shutdownController = new AbortController(); // place

serve((number) => {
  const transfer = { number, rest: payload() };
  const cancelTransfer = () => { // place
    transfer.cancelled = true;
  };
  shutdownController.signal.addEventListener('abort', cancelTransfer, { once: true }); // place
  if (FIXED) shutdownController.signal.removeEventListener('abort', cancelTransfer);
  return { number };
});
