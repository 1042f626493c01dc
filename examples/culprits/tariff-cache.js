// Tariffs stand for a quarter of an hour in a cache without a size; what is out of date goes only when it is asked for again, and it never is.
'use strict';

const { LRUCache } = require('lru-cache');
const { FIXED, payload, serve } = require('./service.js');
const { count } = require('./lib/hourly-counts.js');

class ParcelTariff { // place
  constructor(grams, town) { // place
    this.cents = 390 + Math.ceil(grams / 100) * 15;
    this.town = town;
    this.conditions = payload(280);
  }
}

const QUARTER = 15 * 60 * 1000;
const tariffCache = new LRUCache(FIXED ? { ttl: QUARTER, max: 200 } : { ttl: QUARTER }); // place

function tariffFor(grams, town) {
  const key = `${grams} g to ${town}`;
  let tariff = tariffCache.get(key);
  if (tariff === undefined) {
    count('computed');
    tariff = new ParcelTariff(grams, town); // place
    tariffCache.set(key, tariff); // place
  }
  return tariff;
}

serve((number) => {
  const { cents } = tariffFor(100 + number, `town ${number % 90}`); // place
  return { cents };
});
