// A loader made once for the process, instead of once for each request: its cache never forgets.
'use strict';

const DataLoader = require('dataloader');
const { FIXED, payload, serve } = require('./service.js');

class Customer { // place
  constructor(number) { // place
    this.number = number;
    this.file = payload();
  }
}

const loadCustomers = async (numbers) => numbers.map((number) => new Customer(number)); // place
const customerLoader = new DataLoader(loadCustomers); // place

serve(async (number) => {
  const loader = FIXED ? new DataLoader(loadCustomers) : customerLoader;
  const customer = await loader.load(number); // place
  return { number: customer.number };
});
