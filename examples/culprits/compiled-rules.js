// Discount rules are compiled to functions and kept by their source, in which the number of the customer is written.
'use strict';

const { FIXED, payload, serve } = require('./service.js');
const { count } = require('./lib/hourly-counts.js');

const ruleBySource = new Map(); // place

function compileRule(source) {
  let rule = ruleBySource.get(source);
  if (rule === undefined) {
    rule = new Function('basket', source); // place
    ruleBySource.set(source, rule); // place
    if (FIXED && ruleBySource.size > 40) ruleBySource.delete(ruleBySource.keys().next().value);
  }
  return rule;
}

serve((number) => {
  const customer = FIXED ? 'basket.customer' : String(number);
  const rule = compileRule(`return basket.total > ${50 + (number % 8) * 10} && ${customer} % 7 === 0 ? 0.9 : 1;`); // place
  const discount = rule({ total: 20 + (number % 130), customer: number });
  count(discount < 1 ? 'discount' : 'full price');
  return { discount, voucher: payload(20) };
});
