// Lines of the journal are written side by side; who closes the day waits for a promise of all that were begun.
'use strict';

const { FIXED, payload, serve } = require('./service.js');
const { note } = require('./lib/rolling-log.js');
const { LatencyWindow } = require('./lib/latency-window.js');

function createJournal(write) {
  let allWritten = Promise.resolve(); // place
  let lines = 0;

  return {
    append(text) {
      lines += 1;
      const written = write(lines, text); // place
      const both = Promise.all([allWritten, written]); // place
      allWritten = FIXED ? both.then(() => undefined) : both; // place
      return written;
    },
    async closeDay() {
      await allWritten;
      return lines;
    },
  };
}

const disk = { sectors: new Uint32Array(512), next: 0 };

async function writeLine(line, text) {
  await null;
  disk.sectors[disk.next++ % disk.sectors.length] = text.length;
  return { line, receipt: payload(180), sector: disk.next % disk.sectors.length }; // place
}

const journal = createJournal(writeLine); // place
const writeTimes = new LatencyWindow();

serve(async (number) => {
  const began = performance.now();
  const { line, sector } = await journal.append(`entry ${number} ${payload(50)}`); // place
  writeTimes.add(performance.now() - began);
  if (number % 1000 === 0) note(`${await journal.closeDay()} lines`);
  return { line, sector, slow: writeTimes.percentile(0.95) };
});
