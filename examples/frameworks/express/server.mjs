// A ticket shop on Express that notes every request while it is being answered.
//
//   node server.mjs            the note stays when the answer is sent
//   node server.mjs --fixed    it goes with the response
//
// PORT sets the port (default 8080). SIGTERM ends the service after the requests in flight.

import { randomUUID } from 'node:crypto';
import express from 'express';

const FIXED = process.argv.includes('--fixed');
const PORT = Number(process.env.PORT ?? 8080);

/** What is being answered right now, for whoever asks `/in-progress`. */
const ticketRequests = new Map();

/** Middleware: a number for every request, under which it is found. */
function noteRequest(request, response, next) {
  const note = {
    id: randomUUID(),
    path: request.path,
    agent: request.get('user-agent') ?? '',
    begun: process.hrtime.bigint(),
    steps: ['received', 'routed'].map((step, order) => ({ step, order })),
  };
  ticketRequests.set(note.id, note);
  response.set('x-request-id', note.id);
  // The leak: nothing takes out what is put in. `close` comes once per response, whether it was sent or broken off.
  if (FIXED) response.once('close', () => ticketRequests.delete(note.id));
  next();
}

const app = express();
app.disable('x-powered-by');
app.get('/healthz', (_request, response) => response.type('text').send(`ok, ${ticketRequests.size} in progress\n`));
app.use(noteRequest);
app.use(express.json());

app.get('/tickets/:event', (request, response) => {
  const seats = Array.from({ length: 12 }, (_, seat) => ({ seat, price: 20 + (seat % 4) * 5, free: seat % 3 !== 0 }));
  response.json({ event: request.params.event, seats });
});

app.get('/in-progress', (_request, response) => {
  response.json([...ticketRequests.values()].slice(0, 100).map(({ id, path }) => ({ id, path })));
});

const server = app.listen(PORT, '127.0.0.1', (error) => {
  if (error) throw error;
  console.log(`listening on http://127.0.0.1:${server.address().port}/tickets/opera`);
});

process.once('SIGTERM', () => {
  server.close();
  server.closeIdleConnections();
  setTimeout(() => server.closeAllConnections(), 2000).unref();
});
