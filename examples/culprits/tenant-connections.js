// A connection object is made for the tenant of each request and dropped; the library lists all that were ever made.
'use strict';

const mongoose = require('mongoose');
const { FIXED, payload, serve } = require('./service.js');
const { note } = require('./lib/rolling-log.js');

/** The connection of a tenant, to be opened when something is read or written. */
function connectTenant(number) {
  const connection = mongoose.createConnection(); // place
  connection.set('tenant', { name: `tenant-${number}`, secret: payload(100) }); // place
  return connection;
}

serve(async (number) => {
  const connection = connectTenant(number);
  // What is asked most is answered without the database.
  const answer = { tenant: connection.get('tenant').name, state: connection.readyState };
  if (number % 50 === 0) note(answer.tenant);
  if (FIXED) await connection.destroy();
  return answer;
});
