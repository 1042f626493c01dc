// Each request adds its credentials to the one client of the ledger, as an interceptor that nobody ejects.
'use strict';

const axios = require('axios');
const { FIXED, payload, serve } = require('./service.js');
const { note } = require('./lib/rolling-log.js');

const ledgerClient = axios.create({ // place
  baseURL: 'http://ledger.internal/',
  // The ledger is far away; what it would say is always the same.
  adapter: async (config) => ({ data: { balance: 12 }, status: 200, statusText: 'OK', headers: {}, config }),
});

function clientFor(visitor) {
  const token = `${visitor}.${payload(180)}`;
  if (FIXED) return axios.create({ ...ledgerClient.defaults, headers: { authorization: token } });
  ledgerClient.interceptors.request.use(function signLedgerCall(config) { // place
    config.headers.set('authorization', token);
    return config;
  }, undefined, { synchronous: true }); // place
  return ledgerClient;
}

let balance = 0;

serve(async (number) => {
  const client = clientFor(number);
  // Balances are asked for now and then.
  if (number % 400 === 1) {
    const { data } = await client.get('/balance');
    balance = data.balance;
    note(`balance ${balance}`);
  }
  return { balance };
});
