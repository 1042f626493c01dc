// A cache of at most `limit` entries: the one unused for longest goes first.
'use strict';

class BoundedCache {
  constructor(limit) {
    this.limit = limit;
    this.entries = new Map();
  }

  get(key, make) {
    let entry = this.entries.get(key);
    if (entry === undefined) entry = make(key);
    else this.entries.delete(key);
    this.entries.set(key, entry);
    if (this.entries.size > this.limit) this.entries.delete(this.entries.keys().next().value);
    return entry;
  }

  get size() {
    return this.entries.size;
  }
}

module.exports = { BoundedCache };
