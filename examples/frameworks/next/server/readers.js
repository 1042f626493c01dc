// Who reads: a visit for every call of the API, so that the editors see what is read right now.
//
// FIXED=1 keeps the last 300; else every visit stays.

const VISITS_KEPT = 300;

class ReaderVisit {
  constructor(path, agent) {
    this.path = path;
    this.agent = agent;
    this.begun = performance.now();
    this.progress = [0, 25, 50].map((percent) => ({ percent, seen: false }));
  }
}

// On `globalThis`, as it is usual with Next: modules are evaluated once per bundle, and anew while developing.
globalThis.readerVisits ??= new Map();

let visitsCounted = 0;

/** Notes a visit. The leak: nothing takes out what is put in. */
export function noteVisit(path, agent) {
  const visit = new ReaderVisit(path, agent);
  globalThis.readerVisits.set((visitsCounted += 1), visit);
  if (process.env.FIXED === '1' && globalThis.readerVisits.size > VISITS_KEPT) {
    // A Map keeps the order of insertion: its first key is the oldest.
    globalThis.readerVisits.delete(globalThis.readerVisits.keys().next().value);
  }
  return visit;
}
