// The customs office answers over two connections that are kept. Each question wants to know if its connection is lost before
// the answer, and goes on wanting that, at a socket that outlives thousands of questions.
'use strict';

const http = require('node:http');
const { FIXED, payload, serve } = require('./service.js');
const { BoundedCache } = require('./lib/bounded-cache.js');
const { TimeBuckets } = require('./lib/time-buckets.js');

// The customs office, which in real life is elsewhere.
const office = http.createServer((request, response) => {
  request.resume();
  response.end(JSON.stringify({ duty: request.url.length % 7 }));
});
office.keepAliveTimeout = 0;
office.listen(0, '127.0.0.1');
office.unref();

const officeLine = new http.Agent({ keepAlive: true, maxSockets: 2 }); // place
const waits = new TimeBuckets();
const goods = new BoundedCache(60);

class DutyQuestion { // place
  constructor(number, what) { // place
    this.number = number; // place
    this.what = what;
    this.papers = payload(160);
    this.lost = false;
  }

  ask() {
    return new Promise((resolve, reject) => { // place
      const lineLost = () => { // place
        this.lost = true;
        reject(new Error(`the line was lost at question ${this.number}`));
      };
      const request = http.get({ port: office.address().port, path: `/duty/${this.what}`, agent: officeLine });
      request.on('error', reject);
      request.on('socket', (socket) => { // place
        socket.setMaxListeners(0);
        socket.on('close', lineLost); // place
      });
      request.on('response', (response) => {
        if (FIXED) response.socket.off('close', lineLost);
        response.setEncoding('utf8');
        let text = '';
        response.on('data', (piece) => (text += piece));
        response.on('end', () => resolve(JSON.parse(text)));
      });
    });
  }
}

serve(async (number) => {
  const begun = performance.now();
  const what = goods.get(number % 80, (key) => `goods-${key}`);
  const { duty } = await new DutyQuestion(number, what).ask(); // place
  waits.observe(performance.now() - begun);
  return { number, duty, slow: waits.slow() };
});
