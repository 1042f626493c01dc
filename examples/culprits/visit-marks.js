// Each visit is marked in Redis without waiting for it; Redis moved away, and the client keeps what it could not send.
'use strict';

const Redis = require('ioredis');
const { FIXED, payload, serve } = require('./service.js');
const { count } = require('./lib/hourly-counts.js');
const { SessionCache } = require('./lib/session-cache.js');

const visitMarks = new Redis({ // place
  host: '127.0.0.1',
  port: 1,
  maxRetriesPerRequest: null,
  enableOfflineQueue: !FIXED,
  retryStrategy: (attempt) => Math.min(attempt * 100, 2000),
});
visitMarks.on('error', () => count('redis-away'));

const visitors = new SessionCache(120);

function markVisit(visitor, number) {
  const mark = `${number} ${payload(160)}`;
  visitMarks.set(`visit:${visitor.name}:${number}`, mark, 'EX', 600).catch(() => count('unmarked')); // place
}

serve((number) => {
  const visitor = visitors.touch(`visitor-${number % 200}`, (name) => ({ name, since: Date.now(), key: payload(30) }));
  markVisit(visitor, number);
  return { visitor: visitor.name, since: visitor.since };
});
