// Questions to the fraud service are matched with their replies by number; one that is not replied to in time stays in the table.
'use strict';

const { EventEmitter } = require('node:events');
const { FIXED, payload, serve } = require('./service.js');
const { count } = require('./lib/hourly-counts.js');
const shortLived = require('./lib/short-lived.js');

/** Stands for a connection: it replies to two questions of three. */
class FraudService extends EventEmitter {
  send(question) {
    if (question.id % 3 !== 0) setImmediate(() => this.emit('reply', { id: question.id, score: question.id % 100 }));
  }
}

class FraudClient {
  constructor(service) {
    this.service = service;
    this.lastId = 0;
    this.awaitingReply = new Map(); // place
    service.on('reply', ({ id, score }) => {
      const waiting = this.awaitingReply.get(id);
      this.awaitingReply.delete(id);
      waiting?.resolve(score);
    });
  }

  ask(purchase) {
    const id = ++this.lastId;
    const answer = new Promise((resolve, reject) => { // place
      this.awaitingReply.set(id, { purchase, resolve, reject }); // place
      this.service.send({ id, purchase });
    });
    return this.#orElse(answer, id, 50);
  }

  #orElse(answer, id, fallback) {
    let timer;
    const late = new Promise((resolve) => {
      timer = setTimeout(() => {
        count('no reply');
        if (FIXED) this.awaitingReply.delete(id);
        resolve(fallback);
      }, 4);
    });
    return Promise.race([answer, late]).finally(() => clearTimeout(timer));
  }
}

const fraudClient = new FraudClient(new FraudService()); // place
const scores = shortLived(1_000, 64);

serve(async (number) => {
  const score = await fraudClient.ask({ number, card: payload(16), basket: payload(150) }); // place
  scores.put(number, score);
  return { score };
});
