// Sessions of late, the least recently used given up first.
'use strict';

class SessionCache {
  constructor(limit = 150) {
    this.limit = limit;
    this.entries = new Map();
  }

  touch(token, make) {
    let session = this.entries.get(token);
    if (session === undefined) session = make(token);
    else this.entries.delete(token);
    this.entries.set(token, session);
    if (this.entries.size > this.limit) this.entries.delete(this.entries.keys().next().value);
    return session;
  }
}

module.exports = { SessionCache };
