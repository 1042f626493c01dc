// A price is memoized by its whole question, and no two questions are alike.
'use strict';

const memoize = require('lodash.memoize');
const { FIXED, payload, serve } = require('./service.js');

class PriceOffer { // place
  constructor(question) { // place
    this.question = question;
    this.price = question.length * 3;
    this.text = payload(150);
  }
}

const offerFor = memoize((question) => new PriceOffer(question)); // place

serve((number) => {
  const offer = offerFor(`${number}/${payload(60)}`); // place
  if (FIXED) offerFor.cache.clear();
  return { price: offer.price };
});
