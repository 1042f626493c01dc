// Thumbnails are kept as buffers: little in the heap, much outside of it.
'use strict';

const { FIXED, serve } = require('./service.js');

class ThumbnailShelf { // place
  constructor() { // place
    this.keptThumbnails = []; // place
  }

  put(pixels) {
    this.keptThumbnails.push(pixels); // place
    if (FIXED && this.keptThumbnails.length > 50) this.keptThumbnails.shift();
  }
}

const shelf = new ThumbnailShelf();

serve((number) => {
  shelf.put(Buffer.alloc(2048, number & 255)); // place
  return { number };
});
