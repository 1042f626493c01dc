// Serves, and prints BYTES (default 1 GiB) to standard output as fast as it is read.
//
// LINE_BYTES  length of a line with its newline (default 128)
'use strict';

const { answerOk, serve, setting } = require('./subject.js');

const line = `${'noise '.repeat(setting('LINE_BYTES', 128)).slice(0, setting('LINE_BYTES', 128) - 1)}\n`;
const block = Buffer.from(line.repeat(Math.ceil(65536 / line.length)));
let left = setting('BYTES', 2 ** 30);

function print() {
  while (left > 0) {
    const piece = left < block.length ? block.subarray(0, left) : block;
    left -= piece.length;
    // One block in each turn of the event loop, so that requests are answered in between.
    if (!process.stdout.write(piece)) return process.stdout.once('drain', print);
    return setImmediate(print);
  }
  console.log('\nnothing more to say');
}

serve((_request, response) => answerOk(response)).once('listening', print);
