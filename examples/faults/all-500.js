// Answers every request with STATUS (default 500). READY_PATH, if set, is answered with 200.
'use strict';

const { answerOk, serve, setting } = require('./subject.js');

const status = setting('STATUS', 500);
serve((request, response) => {
  if (process.env.READY_PATH && request.url === process.env.READY_PATH) return answerOk(response);
  response.writeHead(status, { 'content-type': 'text/plain' });
  response.end('out of order\n');
});
