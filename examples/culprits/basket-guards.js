// Baskets are laid away in a shop's checkout. A guard is to complain when a checkout is still not done after a while;
// the clerk's context of each checkout comes along by AsyncLocalStorage.
'use strict';

const { AsyncLocalStorage } = require('node:async_hooks');
const { FIXED, payload, serve } = require('./service.js');

const GUARD_AFTER = 6 * 60 * 60 * 1000;
const PRICES_KEPT = 256;

const checkoutContext = new AsyncLocalStorage(); // place

class CheckoutContext { // place
  constructor(number, language) { // place
    this.number = number;
    this.language = language;
    this.steps = [];
    this.basket = payload(400); // place
  }

  step(name) {
    this.steps.push(name);
  }
}

const priceByArticle = new Map();
const stepCounts = { priced: 0, reserved: 0, paid: 0, complained: 0 };
const hourly = new Uint32Array(24);

/** Log lines bear the number of the checkout; the last few are kept. */
const lines = [];
function log(text) {
  const context = checkoutContext.getStore();
  lines.push(`${context ? context.number : '-'} ${text}`);
  if (lines.length > 60) lines.shift();
}

function priceOf(article) {
  let price = priceByArticle.get(article);
  if (price === undefined) {
    price = 199 + ((article * 6151) % 9000);
    if (priceByArticle.size >= PRICES_KEPT) priceByArticle.delete(priceByArticle.keys().next().value);
    priceByArticle.set(article, price);
  }
  return price;
}

function complain() {
  stepCounts.complained += 1;
  log('still not done');
}

/** Complains when the checkout hangs. Returns what calls the guard off. */
function guardCheckout() {
  const guard = setTimeout(complain, GUARD_AFTER); // place
  guard.unref();
  return () => clearTimeout(guard);
}

async function reserve() {
  const context = checkoutContext.getStore();
  await new Promise(setImmediate);
  context.step('reserved');
  stepCounts.reserved += 1;
}

async function checkout() {
  const context = checkoutContext.getStore();
  const callOff = guardCheckout(); // place
  const price = priceOf(context.number % 1000);
  context.step('priced');
  stepCounts.priced += 1;
  await reserve();
  context.step('paid');
  stepCounts.paid += 1;
  if (FIXED) callOff();
  if (context.number % 100 === 0) log(`paid ${price}`);
  return { checkout: context.number, price, steps: context.steps.length };
}

serve((number) => {
  hourly[new Date().getHours()] += 1;
  const context = new CheckoutContext(number, number % 3 ? 'de' : 'da'); // place
  return checkoutContext.run(context, checkout); // place
});
