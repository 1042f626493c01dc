// Each request wants to hear of price changes while it is answered, and goes on listening ever after.
'use strict';

const { EventEmitter } = require('node:events');
const { FIXED, payload, serve } = require('./service.js');

const priceFeed = new EventEmitter();

serve((number) => {
  const quote = { number, text: payload() };
  function adjustQuote(factor) { // place
    quote.factor = factor;
  }
  priceFeed.on('price', adjustQuote); // place
  if (FIXED) priceFeed.off('price', adjustQuote);
  return { number };
});
