// The context of the start is that of all requests, as nobody opens one for each: the queries of all of them are noted in it.
'use strict';

const { AsyncLocalStorage } = require('node:async_hooks');
const { FIXED, payload, serve } = require('./service.js');
const { count } = require('./lib/hourly-counts.js');

class WorkContext { // place
  constructor(reason) {
    this.reason = reason;
    this.queryNotes = []; // place
  }
}

const workContext = new AsyncLocalStorage(); // place

async function query(text) {
  await new Promise(setImmediate);
  workContext.getStore().queryNotes.push({ text, rows: text.length % 9, took: performance.now() }); // place
  count('query');
}

async function showInvoice(number) {
  await query(`select * from invoice where id = ${number} /* ${payload(70)} */`);
  await query(`select * from line where invoice = ${number}`);
  return { number };
}

workContext.run(new WorkContext('start'), () => { // place
  serve((number) => (FIXED ? workContext.run(new WorkContext('request'), showInvoice, number) : showInvoice(number)));
});
