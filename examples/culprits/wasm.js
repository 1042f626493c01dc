// Strings are handed to a WebAssembly module through its memory; the room is taken and never given back.
'use strict';

const { FIXED, payload, serve } = require('./service.js');

const PAGE = 65536;

class StringArena { // place
  constructor() { // place
    this.linearMemory = new WebAssembly.Memory({ initial: 2, maximum: 16384 }); // place
    this.used = 0;
  }

  store(text) {
    const bytes = Buffer.from(text);
    if (this.used + bytes.length > this.linearMemory.buffer.byteLength) {
      if (FIXED) this.used = 0;
      else this.linearMemory.grow(Math.ceil(bytes.length / PAGE)); // place
    }
    new Uint8Array(this.linearMemory.buffer).set(bytes, this.used);
    this.used += bytes.length;
  }
}

const arena = new StringArena(); // place

serve((number) => {
  arena.store(payload(1500));
  return { number };
});
