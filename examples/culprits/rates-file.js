// Exchange rates come in a file that another program writes anew each morning. A quote that is still open then is to be told,
// so each quote watches the file; that it was answered ends the quote and not the watching.
'use strict';

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { FIXED, payload, serve } = require('./service.js');
const { LatencyWindow } = require('./lib/latency-window.js');
const { SessionCache } = require('./lib/session-cache.js');

const ratesFile = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'rates-')), 'rates.json');
fs.writeFileSync(ratesFile, JSON.stringify({ EUR: 1, DKK: 7.46, SEK: 11.3 }));
process.once('exit', () => fs.rmSync(path.dirname(ratesFile), { recursive: true, force: true }));

// The service's own: it keeps the rates of the day. Its watcher is the one that all others share.
let rates = JSON.parse(fs.readFileSync(ratesFile, 'utf8'));
fs.watchFile(ratesFile, { interval: 60_000, persistent: false }, () => { // place
  rates = JSON.parse(fs.readFileSync(ratesFile, 'utf8'));
}).setMaxListeners(0); // place

const customers = new SessionCache(60);
const spent = new LatencyWindow();

class OpenQuote { // place
  constructor(number, currency) { // place
    this.number = number; // place
    this.currency = currency;
    this.terms = payload(150);
    this.ratesChanged = () => { // place
      this.rate = rates[this.currency];
    };
    fs.watchFile(ratesFile, { interval: 60_000, persistent: false }, this.ratesChanged); // place
    this.rate = rates[currency];
  }

  close() {
    if (FIXED) fs.unwatchFile(ratesFile, this.ratesChanged);
    return this.rate;
  }
}

serve((number) => {
  const begun = performance.now();
  const customer = customers.touch(`c${number % 100}`, (token) => ({ token, currency: ['EUR', 'DKK', 'SEK'][number % 3] }));
  const quote = new OpenQuote(number, customer.currency); // place
  const rate = quote.close();
  spent.add(performance.now() - begun);
  return { number, rate, p90: spent.percentile(0.9) };
});
