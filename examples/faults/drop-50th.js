// Closes the connection instead of answering, once in EVERY requests (default 50), after the
// first AFTER requests (default 0).
'use strict';

const { answerOk, serve, setting } = require('./subject.js');

const every = setting('EVERY', 50);
const after = setting('AFTER', 0);
let requests = 0;
serve((request, response) => {
  requests += 1;
  if (requests > after && requests % every === 0) request.socket.destroy();
  else answerOk(response);
});
