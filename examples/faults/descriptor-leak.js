// Opens a file once in EVERY requests (default 100) and does not close it. With --fixed it does.
'use strict';

const fs = require('node:fs');
const { answerOk, fixed, serve, setting } = require('./subject.js');

const every = setting('EVERY', 100);
let requests = 0;
serve((_request, response) => {
  requests += 1;
  if (requests % every === 0) {
    const descriptor = fs.openSync(__filename, 'r');
    if (fixed) fs.closeSync(descriptor);
  }
  answerOk(response);
});
