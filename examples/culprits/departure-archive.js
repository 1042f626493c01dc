// The stream of departures is teed, for the boards and for an archive; nobody reads the archive since it was moved.
'use strict';

const { FIXED, payload, serve } = require('./service.js');
const { count } = require('./lib/hourly-counts.js');
const { note } = require('./lib/rolling-log.js');

class DepartureNotice { // place
  constructor(train, platform) { // place
    this.train = train;
    this.platform = platform;
    this.at = Date.now();
    this.text = payload(220);
  }
}

let feed;
const departures = new ReadableStream({ // place
  start(controller) {
    feed = controller;
  },
});

/** What the boards show: the last notice of each platform. */
const boards = new Map();

async function showOnBoards(notices) {
  for await (const notice of notices) boards.set(notice.platform, notice);
}

async function store(notices) {
  let stored = 0;
  for await (const notice of notices) {
    stored += 1;
    if (stored % 200 === 0) note(`stored ${stored}, the last is ${notice.train}`);
  }
}

const [forBoards, forArchive] = departures.tee(); // place
showOnBoards(forBoards);
if (FIXED) store(forArchive);

serve(async (number) => {
  const notice = new DepartureNotice(`train-${number}`, number % 14); // place
  feed.enqueue(notice); // place
  count('departure');
  await new Promise(setImmediate);
  return { platform: notice.platform, shown: boards.get(notice.platform)?.train };
});
