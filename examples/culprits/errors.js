// Declined payments are thrown, caught and collected for a report that is made once a quarter: the errors with their stacks.
'use strict';

const { FIXED, payload, serve } = require('./service.js');
const { count, today } = require('./lib/hourly-counts.js');

class PaymentDeclined extends Error { // place
  constructor(code, payment) { // place
    super(`payment ${payment.number} was declined: ${code}`);
    this.name = 'PaymentDeclined';
    this.code = code;
    this.payment = payment;
  }
}

const CODES = ['insufficient_funds', 'expired_card', 'do_not_honour'];

const declines = []; // place

async function pay(payment) {
  await null;
  if (payment.number % 2 === 1) throw new PaymentDeclined(CODES[payment.number % 3], payment); // place
  return { paid: payment.number };
}

async function settle(payment) {
  try {
    return await pay(payment);
  } catch (error) {
    count(error.code);
    if (FIXED && declines.length >= 90) declines.shift();
    declines.push(error); // place
    return { declined: error.code };
  }
}

serve(async (number) => ({ ...(await settle({ number, iban: payload(22) })), hours: today().length }));
