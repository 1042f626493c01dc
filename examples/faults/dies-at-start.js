// Says a few lines, then dies before it listens.
//
// AFTER_MS  how long it lives first (default 200)
// STATUS    exit status (default: an uncaught error, which is status 1)
// SIGNAL    a signal it sends itself instead, e.g. SIGKILL
'use strict';

const { setting } = require('./subject.js');

console.log('reading settings');
console.log('opening the database');
setTimeout(() => {
  console.error('fatal: cannot open the database: no such file');
  if (process.env.SIGNAL) process.kill(process.pid, process.env.SIGNAL);
  else if (process.env.STATUS) process.exit(setting('STATUS', 1));
  else throw new Error('the database is missing');
}, setting('AFTER_MS', 200));
