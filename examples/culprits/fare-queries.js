// Pages are rendered on the server with one query client for all of them; on a server, its cache never forgets a query.
'use strict';

const { QueryClient } = require('@tanstack/query-core');
const { FIXED, payload, serve } = require('./service.js');
const { LatencyWindow } = require('./lib/latency-window.js');
const { SessionCache } = require('./lib/session-cache.js');

const QUERY_OPTIONS = { defaultOptions: { queries: { staleTime: 30_000, retry: false } } };

const fareClient = new QueryClient(QUERY_OPTIONS); // place
const renderTimes = new LatencyWindow();
const stations = new SessionCache(80);

/** Stands for the fare service. */
async function loadFares(journey) {
  await new Promise(setImmediate);
  return [2, 1].map((category) => ({ category, cents: 1900 + 700 * category + (journey.number % 90), terms: payload(90) }));
}

async function renderJourney(journey) {
  const client = FIXED ? new QueryClient(QUERY_OPTIONS) : fareClient;
  try {
    const fares = await client.fetchQuery({ // place
      queryKey: ['fares', journey.from, journey.to, journey.number], // place
      queryFn: () => loadFares(journey),
    });
    // The line below the table asks for the same and has it from the cache.
    const again = client.getQueryData(['fares', journey.from, journey.to, journey.number]);
    return `<li>${again.length} fares from ${fares[0].cents} cents</li>`;
  } finally {
    if (FIXED) client.clear();
  }
}

serve(async (number) => {
  const began = performance.now();
  const station = stations.touch(`station-${number % 120}`, (name) => ({ name, sign: payload(30) }));
  const html = await renderJourney({ number, from: station.name, to: `station-${(number + 7) % 120}` }); // place
  renderTimes.add(performance.now() - began);
  return { html, p95: renderTimes.percentile(0.95) };
});
