// Each request starts a heartbeat for its upload and nobody stops it.
'use strict';

const { FIXED, payload, serve } = require('./service.js');

class UploadProgress { // place
  constructor(number) { // place
    this.number = number;
    this.note = payload();
    this.beats = 0;
  }
}

serve((number) => {
  const progress = new UploadProgress(number); // place
  const heartbeat = setInterval(function beatForUpload() { // place
    progress.beats += 1;
  }, 3_600_000);
  heartbeat.unref();
  if (FIXED) clearInterval(heartbeat);
  return { number };
});
