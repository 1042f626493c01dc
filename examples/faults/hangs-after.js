// Works for AFTER requests (default 12,000), then never answers again.
//
// HOW=silent  the event loop runs on, requests are accepted and forgotten (default)
// HOW=busy    the event loop is stuck in a computation, so that a probe inside cannot answer either
'use strict';

const { answerOk, serve, setting } = require('./subject.js');

const after = setting('AFTER', 12000);
const until = Date.now() + setting('LIFETIME_S', 600) * 1000;
let requests = 0;
serve((request, response) => {
  requests += 1;
  if (requests <= after) {
    answerOk(response);
  } else if (process.env.HOW === 'busy') {
    while (Date.now() < until); // A timer could not end this, so the loop looks at the clock itself.
    process.exit(0);
  }
});
