// A page waits a moment for the next pickup, by an iterator over the news, and answers without when there is none.
'use strict';

const { EventEmitter } = require('node:events');
const { PubSub } = require('graphql-subscriptions');
const { FIXED, payload, serve } = require('./service.js');
const { note } = require('./lib/rolling-log.js');
const { SessionCache } = require('./lib/session-cache.js');

const newsEmitter = new EventEmitter().setMaxListeners(0); // place
const pickupNews = new PubSub({ eventEmitter: newsEmitter }); // place
const couriers = new SessionCache(50);

// Of the roads there is news all day; of pickups, none before the evening.
pickupNews.subscribe('road', ({ state }) => note(`the road is ${state}`));

const aMoment = () => new Promise((resolve) => setImmediate(resolve, { done: true, value: undefined }));

async function nextPickup() {
  const pickups = pickupNews.asyncIterator('pickup'); // place
  const { value } = await Promise.race([pickups.next(), aMoment()]); // place
  if (FIXED) await pickups.return();
  return value;
}

serve(async (number) => {
  if (number % 500 === 0) await pickupNews.publish('road', { number, state: number % 1000 === 0 ? 'clear' : 'busy' });
  const courier = couriers.touch(`courier-${number % 70}`, (name) => ({ name, van: payload(20) }));
  return { courier: courier.name, pickup: (await nextPickup()) ?? 'none yet' };
});
