// Orders go to a partner with one jar of cookies for all of them; the partner sets one per order, for the path of the order.
'use strict';

const { CookieJar } = require('tough-cookie');
const { FIXED, payload, serve } = require('./service.js');
const { count } = require('./lib/hourly-counts.js');
const { note } = require('./lib/rolling-log.js');

const PARTNER = 'https://partner.example';
const partnerCookies = new CookieJar(); // place
partnerCookies.setCookieSync('login=house; Path=/login; Max-Age=86400', `${PARTNER}/login`);

/** Stands for the partner. */
async function post(url, order) {
  await null;
  return {
    status: 201,
    headers: { 'set-cookie': [`order=${payload(60)}; Path=${new URL(url).pathname}; Max-Age=900; HttpOnly`] },
    body: { accepted: order.number },
  };
}

async function sendOrder(order) {
  const url = `${PARTNER}/orders/${order.number}`;
  const response = await post(url, order);
  const jar = FIXED ? new CookieJar() : partnerCookies;
  for (const line of response.headers['set-cookie']) jar.setCookieSync(line, url); // place
  count(response.status);
  return response.body;
}

serve(async (number) => {
  if (number % 200 === 0) note(`logged in as ${partnerCookies.getCookieStringSync(`${PARTNER}/login`)}`);
  // Every second order is delivered from here.
  if (number % 2 === 0) return { accepted: number };
  return sendOrder({ number, note: payload(50) });
});
