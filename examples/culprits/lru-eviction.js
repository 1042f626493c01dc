// A library's LRU cache of a hundred gives up the oldest entry of its list, and deletes the entry instead of its key from its index.
'use strict';

const SlimLru = require('./lru-eviction.d/node_modules/slim-lru');
const { FIXED, payload, serve } = require('./service.js');
const { SessionCache } = require('./lib/session-cache.js');

class CustomerProfile { // place
  constructor(id) { // place
    this.id = id;
    this.name = payload(24);
    this.consents = { mail: id % 2 === 0, phone: false };
  }
}

const profileCache = new SlimLru({ max: 100, compat: !FIXED }); // place
const visitors = new SessionCache(100);

function profileOf(id) {
  let profile = profileCache.get(id);
  if (profile === undefined) {
    profile = new CustomerProfile(id); // place
    profileCache.set(id, profile); // place
  }
  return profile;
}

serve((number) => {
  const visitor = visitors.touch(`v${number % 400}`, (token) => ({ token, since: number }));
  const profile = profileOf(number);
  const again = profileOf(Math.max(1, number - 1));
  return { visitor: visitor.token, name: profile.name, before: again.name };
});
