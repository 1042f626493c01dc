// A desk listens while it is open and stops when it is closed, or so it seems: what is bound twice is two functions.
'use strict';

const { EventEmitter } = require('node:events');
const { FIXED, payload, serve } = require('./service.js');

const exchangeRates = new EventEmitter(); // place

class CurrencyDesk { // place
  constructor(number) { // place
    this.number = number;
    this.rates = { usd: 1.1, text: payload(200) };
    if (FIXED) this.takeRates = this.takeRates.bind(this);
  }

  open() {
    exchangeRates.on('change', FIXED ? this.takeRates : this.takeRates.bind(this)); // place
  }

  close() {
    exchangeRates.off('change', FIXED ? this.takeRates : this.takeRates.bind(this));
  }

  takeRates(rates) { // place
    this.rates = rates;
  }
}

serve((number) => {
  const desk = new CurrencyDesk(number);
  desk.open();
  const answer = { usd: desk.rates.usd };
  desk.close();
  return answer;
});
