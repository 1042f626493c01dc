// Webhooks that could not be delivered are tried again; the number of attempts is lost on the way, so none is ever given up.
'use strict';

const { FIXED, payload, serve } = require('./service.js');
const { count } = require('./lib/hourly-counts.js');
const { note } = require('./lib/rolling-log.js');

const MOST_ATTEMPTS = 4;

class WebhookDelivery { // place
  constructor(target, body, attempts = 0) { // place
    this.target = target;
    this.body = body;
    this.attempts = attempts;
  }
}

const undelivered = []; // place

function deliver(delivery) {
  delivery.attempts += 1;
  return delivery.target.endsWith('.example.com'); // Hosts of example.org do not answer.
}

function retry(delivery) {
  if (delivery.attempts >= MOST_ATTEMPTS) {
    note(`gave up on ${delivery.target}`);
    return;
  }
  const { target, body, attempts } = delivery;
  undelivered.push(FIXED ? new WebhookDelivery(target, body, attempts) : new WebhookDelivery(target, body)); // place
}

function work(most) {
  for (let turn = Math.min(most, undelivered.length); turn > 0; turn -= 1) {
    const delivery = undelivered.shift();
    if (deliver(delivery)) count('delivered');
    else retry(delivery);
  }
}

serve((number) => {
  const host = number % 3 === 0 ? 'hooks.example.com' : `customer-${number % 40}.example.org`;
  undelivered.push(new WebhookDelivery(host, { event: 'invoice.paid', number, text: payload(220) })); // place
  work(6);
  return { waiting: undelivered.length };
});
