// Readings of all parcels' scanners come in one stream, and are told apart by parcel to find the first and the last of each.
// A parcel's group ends when the stream does.
'use strict';

const { Subject, groupBy, mergeMap, scan, timer } = require('rxjs');
const { FIXED, payload, serve } = require('./service.js');
const { LastLines } = require('./lib/last-lines.js');
const { count } = require('./lib/hourly-counts.js');

const scannerReadings = new Subject(); // place
const latest = new LastLines(50);

function span(first, reading) {
  return { parcel: reading.parcel, from: first?.from ?? reading.at, to: reading.at };
}

function sorted(parcel) {
  return parcel.pipe(scan(span, null)); // place
}

const parcelSpans = scannerReadings.pipe( // place
  FIXED
    ? groupBy((reading) => reading.parcel, { duration: () => timer(20) })
    : groupBy((reading) => reading.parcel), // place
  mergeMap(sorted), // place
);

parcelSpans.subscribe((parcelSpan) => { // place
  latest.add(`${parcelSpan.parcel} from ${parcelSpan.from} to ${parcelSpan.to}`);
  count(parcelSpan.from === parcelSpan.to ? 'first' : 'again');
});

serve((number) => {
  const parcel = `${number}-${payload(12)}`;
  scannerReadings.next({ parcel, at: number, gate: number % 4 }); // place
  scannerReadings.next({ parcel, at: number + 1, gate: 4 + (number % 4) }); // place
  return { number, latest: latest.latest() };
});
