// Views of the departure board are told of changes by way of WeakRefs: the views go, what was noted about each of them stays.
'use strict';

const { FIXED, payload, serve } = require('./service.js');
const { BoundedCache } = require('./lib/bounded-cache.js');
const { TimeBuckets } = require('./lib/time-buckets.js');
const { LastLines } = require('./lib/last-lines.js');

class Watch { // place
  constructor(view, platform, viewer) { // place
    this.view = new WeakRef(view); // place
    this.platform = platform;
    this.viewer = viewer;
    this.told = 0;
  }
}

class DepartureBoard { // place
  #watches = new Set(); // place

  constructor(platforms) {
    this.departures = Array.from({ length: platforms }, (_, platform) => ({ platform, train: 100 + platform, delay: 0 }));
  }

  /** The view isn't kept: when nobody has it any more, nobody tells it anything. */
  watch(view, platform, viewer) {
    const watch = new Watch(view, platform, viewer); // place
    this.#watches.add(watch); // place
    return watch;
  }

  unwatch(watch) {
    this.#watches.delete(watch);
  }

  delay(platform, minutes) {
    this.departures[platform].delay = minutes;
    for (const watch of this.#watches) {
      if (watch.platform !== platform) continue;
      const view = watch.view.deref();
      if (view === undefined) continue;
      view.refresh(this.departures[platform]);
      watch.told += 1;
    }
  }
}

const board = new DepartureBoard(14); // place

class BoardView {
  constructor(platform, viewer) {
    this.platform = platform;
    this.html = '';
    this.watch = board.watch(this, platform, viewer); // place
    this.refresh(board.departures[platform]);
  }

  refresh({ train, delay }) {
    this.html = `<b>${train}</b> from ${this.platform}${delay > 0 ? `, ${delay} minutes late` : ''}`;
  }

  close() {
    if (FIXED) board.unwatch(this.watch);
  }
}

const stations = new BoundedCache(18);
const viewTimes = new TimeBuckets();
const delays = new LastLines(24);

serve(async (number) => {
  const began = performance.now();
  const station = stations.get(`station-${number % 22}`, (name) => ({ name, platforms: 14, map: payload(150) }));
  const view = new BoardView(number % station.platforms, `viewer-${number}-${payload(90)}`); // place
  await new Promise(setImmediate);
  if (number % 400 === 0) {
    board.delay(number % 14, (number / 400) % 9);
    delays.add(`${(number / 400) % 9} minutes at ${number % 14}`);
  }
  const html = view.html;
  view.close();
  viewTimes.observe(performance.now() - began);
  return { station: station.name, html, delay: delays.latest(), slow: viewTimes.slow() };
});
