// Who waits for news is answered "nothing new" after a moment, and waits on in the set of those to be answered.
'use strict';

const { FIXED, payload, serve } = require('./service.js');
const { SessionCache } = require('./lib/session-cache.js');

const readers = new SessionCache(120);
const waitingPolls = new Set(); // place

class NewsPoll { // place
  constructor(reader, response) { // place
    this.reader = reader;
    this.response = response;
    this.cursor = payload(48);
  }

  expire(answer) {
    if (FIXED) waitingPolls.delete(this);
    answer({ reader: this.reader, news: [] });
  }
}

function waitForNews(reader, response) {
  return new Promise((resolve) => {
    const poll = new NewsPoll(reader, response); // place
    waitingPolls.add(poll); // place
    setTimeout(() => poll.expire(resolve), 3);
  });
}

serve((number, _request, response) => {
  const { name } = readers.touch(`reader-${number % 700}`, (token) => ({ name: token, topics: [payload(20)] }));
  return waitForNews(name, response);
});
