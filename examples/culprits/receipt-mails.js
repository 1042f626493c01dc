// Receipts go out by mail, from a queue. When the mail provider says that it is busy the queue is paused for a little
// while; what was to set it going again got lost when the provider was changed.
'use strict';

const async = require('async');
const { FIXED, payload, serve } = require('./service.js');

const BUSY_EVERY = 350;
const PAUSE = 10;
const CUSTOMERS_KEPT = 300;

class Receipt { // place
  constructor(number, customer, total) { // place
    this.number = number;
    this.customer = customer;
    this.total = total;
    this.text = payload(220); // place
  }

  subject() {
    return `Your order ${this.number}: ${(this.total / 100).toFixed(2)} EUR`;
  }
}

const mails = { sent: 0, failed: 0, longestSubject: 0 };
const nameByCustomer = new Map();
const totals = new Uint32Array(20);

/** Stands for the provider's interface. Returns whether it would rather be left alone for a while. */
async function sendMail(receipt) {
  await new Promise(setImmediate);
  const subject = receipt.subject();
  if (subject.length > mails.longestSubject) mails.longestSubject = subject.length;
  mails.sent += 1;
  return mails.sent % BUSY_EVERY === 0;
}

const receiptQueue = async.queue(async (receipt) => { // place
  const busy = await sendMail(receipt);
  if (busy) leaveProviderAlone();
}, 16);

function leaveProviderAlone() {
  receiptQueue.pause();
  if (FIXED) setTimeout(() => receiptQueue.resume(), PAUSE);
}

/** The customer's name; those not seen for long are dropped. */
function nameOf(customer) {
  let name = nameByCustomer.get(customer);
  if (!name) {
    name = `customer ${customer.toString(36)}`;
    if (nameByCustomer.size >= CUSTOMERS_KEPT) {
      nameByCustomer.delete(nameByCustomer.keys().next().value);
    }
    nameByCustomer.set(customer, name);
  }
  return name;
}

/** The mail need not be waited for: the customer sees the receipt on the page as well. */
function mailLater(receipt) {
  receiptQueue.push(receipt, (error) => { // place
    if (error) mails.failed += 1;
  }); // place
}

serve((number) => {
  const customer = (number * 31) % 1200;
  const total = 500 + ((number * 7919) % 20_000);
  totals[total >> 10] += 1;
  const receipt = new Receipt(number, nameOf(customer), total); // place
  mailLater(receipt); // place
  return { order: number, customer: receipt.customer, mailed: mails.sent, typical: totals.indexOf(Math.max(...totals)) };
});
