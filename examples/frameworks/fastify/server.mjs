// A price service on Fastify whose answers follow the price feed while they are written.
//
//   node server.mjs            each request leaves its listener on the feed
//   node server.mjs --fixed    the listener goes with the response
//
// PORT sets the port (default 8080). SIGTERM ends the service after the requests in flight.

import { EventEmitter } from 'node:events';
import Fastify from 'fastify';

const FIXED = process.argv.includes('--fixed');
const PORT = Number(process.env.PORT ?? 8080);

/** Prices as the exchange tells them. One for the whole service. */
class MetalFeed extends EventEmitter {
  prices = new Map(['copper', 'tin', 'zinc'].map((metal, order) => [metal, 100 + order]));

  tell(metal, price) {
    this.prices.set(metal, price);
    this.emit('price', metal, price);
  }
}

/** A plugin: the feed as `app.metalFeed`, and `request.quote` that is corrected while the request lasts. */
async function livePrices(app) {
  const feed = new MetalFeed().setMaxListeners(0);
  app.decorate('metalFeed', feed);
  app.decorateRequest('quote', null);
  app.addHook('onRequest', async (request, reply) => {
    const quote = { metal: request.url.split('/')[2] ?? '', price: undefined, corrections: [] };
    request.quote = quote;
    const correct = (metal, price) => {
      if (metal === quote.metal) quote.corrections.push(price);
    };
    // The leak: `on` without `off`. The closure keeps the quote.
    feed.on('price', correct);
    if (FIXED) reply.raw.once('close', () => feed.off('price', correct));
  });
}
// As `fastify-plugin` does: what the plugin decorates is seen by the whole application.
livePrices[Symbol.for('skip-override')] = true;

const app = Fastify({ logger: false });
await app.register(livePrices);

app.get('/healthz', async () => `ok, ${app.metalFeed.listenerCount('price')} follow the feed\n`);

app.get('/quotes/:metal', {
  schema: {
    params: { type: 'object', properties: { metal: { type: 'string', maxLength: 20 } } },
    response: {
      200: { type: 'object', properties: { metal: { type: 'string' }, price: { type: 'number' } } },
    },
  },
  handler: async (request, reply) => {
    const { quote } = request;
    quote.price = app.metalFeed.prices.get(quote.metal);
    if (quote.price === undefined) return reply.code(404).send({ error: 'not traded here' });
    return quote;
  },
});

console.log(`listening on ${await app.listen({ port: PORT, host: '127.0.0.1' })}/quotes/tin`);

process.once('SIGTERM', () => app.close());
