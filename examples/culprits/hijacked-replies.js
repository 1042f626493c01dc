// A plugin notes the requests under way and strikes each off as its answer is sent; what is answered past the framework is never sent by it.
'use strict';

const Fastify = require('fastify');
const { FIXED, payload } = require('./service.js');
const { count } = require('./lib/hourly-counts.js');

function watchRequests(app, _options, done) {
  const requestsUnderWay = new Set(); // place
  app.decorate('requestsUnderWay', requestsUnderWay); // place
  app.addHook('onRequest', async (request) => {
    requestsUnderWay.add(request); // place
  });
  app.addHook(FIXED ? 'onResponse' : 'onSend', async (request) => {
    requestsUnderWay.delete(request);
  });
  done();
}
// Its decorations and hooks are for the whole service, not for itself alone.
watchRequests[Symbol.for('skip-override')] = true;

const app = Fastify();
app.register(watchRequests); // place

let visits = 0;
app.get('/', (_request, reply) => {
  const number = ++visits;
  count('visit');
  if (number % 3 !== 0) {
    reply.send({ number, text: payload(40) });
    return;
  }
  // The terminals at the gate understand nothing but a line of text.
  reply.hijack();
  reply.raw.end(`${number} ${payload(40)}\n`);
});

app.listen({ port: Number(process.env.PORT ?? 8080), host: '127.0.0.1' }).then((address) => {
  console.log(`listening on ${address}/`);
});
process.once('SIGTERM', () => process.exit(0));
