// The last lines of what happened, for the status page.
'use strict';

class LastLines {
  constructor(size = 64) {
    this.lines = new Array(size).fill('');
    this.next = 0;
  }

  add(line) {
    this.lines[this.next] = line;
    this.next = (this.next + 1) % this.lines.length;
  }

  latest() {
    return this.lines[(this.next + this.lines.length - 1) % this.lines.length];
  }
}

module.exports = { LastLines };
