// Delivery sheets are written to a file system in memory, read once and renamed as done; the done ones stay.
'use strict';

const { Volume } = require('memfs');
const { FIXED, payload, serve } = require('./service.js');
const { count } = require('./lib/hourly-counts.js');
const { note } = require('./lib/rolling-log.js');

const spool = Volume.fromJSON({ '/sheets/README': 'one file a sheet', '/done/README': 'what was printed' }); // place

function writeSheet(number) {
  const file = `/sheets/${number}.txt`;
  spool.writeFileSync(file, `sheet ${number}\n${payload(260)}\n`); // place
  return file;
}

/** Stands for the printer. */
async function print(file) {
  const sheet = spool.readFileSync(file, 'utf8');
  await null;
  return sheet.split('\n').length;
}

serve(async (number) => {
  count(number % 2 === 0 ? 'on paper' : 'on the phone');
  // Every second driver wants paper.
  if (number % 2 !== 0) return { number };
  const file = writeSheet(number);
  const lines = await print(file);
  if (FIXED) spool.unlinkSync(file);
  else spool.renameSync(file, file.replace('/sheets/', '/done/')); // place
  if (number % 80 === 0) note(`sheet ${number} printed`);
  return { number, lines };
});
