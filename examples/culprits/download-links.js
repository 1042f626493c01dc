// Each invoice that is made ready gets a route of its own to be downloaded by, which is never taken out of the application.
'use strict';

const crypto = require('node:crypto');
const express = require('express');
const { FIXED, payload } = require('./service.js');
const { count } = require('./lib/hourly-counts.js');
const shortLived = require('./lib/short-lived.js');

const invoiceDesk = express(); // place
const ready = shortLived(60_000, 80);
let visits = 0;

function linkTo(invoice) {
  const path = `/download/${crypto.randomBytes(9).toString('hex')}`;
  if (FIXED) {
    ready.put(path, invoice);
  } else {
    invoiceDesk.get(path, function sendInvoice(_request, response) { // place
      response.json(invoice);
    });
  }
  return path;
}

invoiceDesk.get('/', (_request, response) => {
  const number = ++visits;
  count('visit');
  // One visitor in four wants an invoice.
  if (number % 4 !== 0) response.json({ number });
  else response.json({ number, link: linkTo({ number, lines: payload(200) }) }); // place
});
if (FIXED) {
  invoiceDesk.get('/download/:link', (request, response) => {
    const invoice = ready.take(request.path);
    response.status(invoice ? 200 : 404).json(invoice ?? {});
  });
}

const server = invoiceDesk.listen(Number(process.env.PORT ?? 8080), '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}/`);
});
process.once('SIGTERM', () => process.exit(0));
