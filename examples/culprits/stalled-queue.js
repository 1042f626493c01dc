// Receipts are mailed four at a time; the mail server stopped answering, nothing times out, and the others wait.
'use strict';

const { default: PQueue } = require('p-queue');
const { FIXED, payload, serve } = require('./service.js');
const { count } = require('./lib/hourly-counts.js');

const receiptQueue = new PQueue({ concurrency: 4 }); // place

/** What a mail server is that accepts the connection and says nothing. */
function deliver(receipt) {
  count('mail');
  if (FIXED) return Promise.resolve(receipt.length);
  return new Promise(() => {}); // place
}

serve((number) => {
  const receipt = `${number} ${payload(260)}`;
  receiptQueue.add(function mailReceipt() { // place
    return deliver(receipt);
  }).catch(() => count('unsent')); // place
  return { number };
});
