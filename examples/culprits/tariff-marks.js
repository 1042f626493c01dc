// Customs tariffs: each declaration is marked on the tariff table with what it has been assessed at, under a symbol of
// its own, so that nothing that lists the tariffs comes across it.
'use strict';

const { FIXED, payload, serve } = require('./service.js');

const GOODS = ['tea', 'timber', 'lamps', 'bicycles', 'cheese', 'paper', 'boots', 'tiles'];
const RATES_KEPT = 128;

/** Rate by goods, in per mille. The marks of the declarations lie here, too. */
const tariffTable = { tea: 32, timber: 11, lamps: 37, bicycles: 140, cheese: 77, paper: 0, boots: 80, tiles: 54 }; // place

const exchangeRates = new Map();
const dutyHistogram = new Float64Array(12);
const declared = Object.fromEntries(GOODS.map((goods) => [goods, 0]));

function exchangeRate(day) {
  let rate = exchangeRates.get(day);
  if (rate === undefined) {
    rate = 1 + ((day * 37) % 50) / 100;
    if (exchangeRates.size >= RATES_KEPT) exchangeRates.delete(exchangeRates.keys().next().value);
    exchangeRates.set(day, rate);
  }
  return rate;
}

/** Marks the table for the time of one declaration. */
function mark(number, goods, value) {
  const key = Symbol(`declaration ${number}`); // place
  tariffTable[key] = { // place
    assessedAt: Date.now(), // place
    goods, // place
    value, // place
    remarks: payload(240), // place
  }; // place
  return key;
}

function unmark(key) {
  delete tariffTable[key];
}

function dutyOf(key, day) {
  const assessment = tariffTable[key];
  const duty = Math.round((assessment.value * exchangeRate(day) * tariffTable[assessment.goods]) / 1000);
  dutyHistogram[Math.min(11, Math.floor(Math.log2(duty + 1)))] += 1;
  return duty;
}

/** The tariffs as the public sees them; the marks do not turn up in it. */
function publicTariffs() {
  return Object.keys(tariffTable).length;
}

serve(async (number) => {
  const goods = GOODS[number % GOODS.length];
  declared[goods] += 1;
  const key = mark(number, goods, 100 + ((number * 997) % 5000)); // place
  await new Promise(setImmediate);
  const duty = dutyOf(key, number % 365);
  if (FIXED) unmark(key);
  return { declaration: number, goods, duty, tariffs: publicTariffs(), declared: declared[goods] };
});
