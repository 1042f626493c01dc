// Orders are kept by number for "track my order", delivered ones too.
'use strict';

const { FIXED, payload, serve } = require('./service.js');

class PlacedOrder { // place
  constructor(number) { // place
    this.number = number;
    this.lines = [{ article: payload(40), amount: number % 7 }];
    this.address = payload(200);
  }
}

const ordersByNumber = new Map(); // place

serve((number) => {
  ordersByNumber.set(`order-${number}`, new PlacedOrder(number)); // place
  if (FIXED) ordersByNumber.delete(`order-${number - 100}`);
  return { number };
});
