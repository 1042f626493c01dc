// A log-in by a partner has a strategy of its own, as the address to come back to is of the log-in; it is listed by that name.
'use strict';

const { Authenticator } = require('passport');
const { Strategy } = require('passport-strategy');
const { FIXED, payload, serve } = require('./service.js');
const { count } = require('./lib/hourly-counts.js');
const { SessionCache } = require('./lib/session-cache.js');

const PARTNERS = ['harbour', 'railway', 'airport'];
const accounts = new SessionCache(90);

class PartnerLogin extends Strategy { // place
  constructor(partner, state, findAccount) { // place
    super(); // place
    this.name = `${partner}-${state}`;
    this.callbackUrl = `https://login.example/${partner}/back?state=${state}`;
    this.verifier = payload(86);
    this.findAccount = findAccount;
  }

  async authenticate(request) {
    await null;
    if (request.method !== 'GET') this.fail({ message: 'only by GET' });
    else this.success(this.findAccount(request), { callbackUrl: this.callbackUrl, seal: this.verifier.slice(0, 6) });
  }
}

const passport = new Authenticator(); // place

class Visitors {
  find(number) {
    return accounts.touch(`account-${number % 130}`, (name) => ({ name, mail: `${payload(8)}@example.org` }));
  }
}

const visitors = new Visitors();

function logIn(strategy, request, response) {
  return new Promise((resolve, reject) => {
    const options = { session: false };
    const done = (error, account, info) => (error ? reject(error) : resolve({ account, info }));
    if (!FIXED) passport.use(strategy.name, strategy); // place
    const middleware = passport.authenticate(FIXED ? strategy : strategy.name, options, done);
    middleware(request, response, reject);
  });
}

serve(async (number, request, response) => {
  const partner = PARTNERS[number % PARTNERS.length];
  const strategy = new PartnerLogin(partner, payload(24), () => visitors.find(number)); // place
  const { account, info } = await logIn(strategy, request, response); // place
  count(account ? partner : 'refused');
  return { account: account.name, seal: info.seal };
});
