// Carts by country, then by visitor: the outer Map is small and level, the inner ones only grow.
'use strict';

const { FIXED, payload, serve } = require('./service.js');

const COUNTRIES = ['at', 'be', 'ch', 'de', 'dk'];

class ShoppingCart { // place
  constructor(number) { // place
    this.number = number;
    this.items = [payload(200)];
  }
}

const cartsByCountry = new Map(COUNTRIES.map((country) => [country, new Map()])); // place

serve((number) => {
  const carts = cartsByCountry.get(COUNTRIES[number % COUNTRIES.length]);
  carts.set(number, new ShoppingCart(number)); // place
  if (FIXED && carts.size > 20) carts.delete(carts.keys().next().value);
  return { number };
});
