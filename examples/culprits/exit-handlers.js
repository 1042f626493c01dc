// A temporary file is to be removed when the process ends; that it is removed with its request already is not told to the process.
'use strict';

const { FIXED, payload, serve } = require('./service.js');
const { borrow, giveBack } = require('./lib/scratch-pool.js');

process.setMaxListeners(0);

class SpoolFile { // place
  constructor(number) { // place
    this.path = `/tmp/spool-${number}-${payload(12)}`;
    this.removed = false;
  }

  remove() {
    this.removed = true;
  }
}

function createSpoolFile(number) {
  const file = new SpoolFile(number); // place
  const removeSpoolFile = () => { // place
    if (!file.removed) file.remove();
  };
  process.on('exit', removeSpoolFile); // place
  return {
    file,
    done() {
      file.remove();
      if (FIXED) process.off('exit', removeSpoolFile);
    },
  };
}

serve((number) => {
  const scratch = borrow();
  const { file, done } = createSpoolFile(number);
  const bytes = scratch.write(file.path);
  giveBack(scratch);
  done();
  return { bytes };
});
