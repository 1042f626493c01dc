// Letters are made of templates; what a customer had printed on his own order is registered as a partial of the order's name.
'use strict';

const Handlebars = require('handlebars');
const { FIXED, payload, serve } = require('./service.js');
const { count } = require('./lib/hourly-counts.js');
const { SessionCache } = require('./lib/session-cache.js');

const letters = Handlebars.create(); // place
letters.registerHelper('euro', (cents) => `${(cents / 100).toFixed(2)} EUR`);
letters.registerPartial('footer', '<footer>{{shop}}, open all week</footer>');

const confirmation = letters.compile(`
  <h1>Order {{number}}</h1>
  <p>{{euro cents}} in all</p>
  {{> (lookup . 'imprint') name=customer}}
  {{> footer}}
`);

const customers = new SessionCache(100);

function confirm(order, imprint) {
  const partial = `imprint-${order.number}`; // place
  const data = { ...order, shop: 'The Corner', imprint: partial };
  if (FIXED) return confirmation(data, { partials: { [partial]: imprint } });
  letters.registerPartial(partial, imprint); // place
  return confirmation(data); // place
}

serve((number) => {
  const customer = customers.touch(`customer-${number % 170}`, (name) => ({ name, since: 2000 + (number % 26) }));
  const imprint = `<blockquote>For {{name}}: ${payload(160)}</blockquote>`; // place
  const letter = confirm({ number, customer: customer.name, cents: 500 + (number % 4000) }, imprint); // place
  count('confirmed');
  return { number, bytes: letter.length };
});
