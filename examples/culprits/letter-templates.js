// Letters are rendered with the template cache on, under names that carry the number of the customer.
'use strict';

const ejs = require('ejs');
const { FIXED, payload, serve } = require('./service.js');
const { count } = require('./lib/hourly-counts.js');

const REMINDER = 'Dear <%= name %>,\n<% if (days > 30) { %>for <%= days %> days<% } %> we wait for <%= amount %>.\n';

function letterTo(customer) {
  const filename = FIXED ? 'reminder' : `reminder-${customer.number}`;
  return ejs.render(REMINDER, customer, { cache: true, filename, compileDebug: false }); // place
}

serve((number) => {
  count('letter');
  const letter = letterTo({ number, name: payload(20), days: number % 60, amount: '12.00' });
  return { length: letter.length };
});
