// Visits are limited per session for a day; who comes without one is given a session each time, and the store keeps them all.
'use strict';

const crypto = require('node:crypto');
const express = require('express');
const { rateLimit } = require('express-rate-limit');
const { FIXED } = require('./service.js');
const { count } = require('./lib/hourly-counts.js');

const DAY = 24 * 60 * 60 * 1000;

const app = express();
const visitLimits = rateLimit({ // place
  windowMs: DAY,
  limit: 1_000_000_000,
  standardHeaders: 'draft-7',
  legacyHeaders: false,
  keyGenerator(request) {
    if (FIXED) return request.ip;
    return request.headers['x-session'] ?? `anonymous-${crypto.randomUUID()}`; // place
  },
});
app.use(visitLimits); // place
app.get('/', (request, response) => {
  count('visit');
  response.json({ left: request.rateLimit.remaining });
});
const server = app.listen(Number(process.env.PORT ?? 8080), '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}/`);
});
process.once('SIGTERM', () => process.exit(0));
