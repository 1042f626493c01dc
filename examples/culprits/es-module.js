// An ES module leaves bread crumbs for error reports in an array of its own; there are few errors, so nobody clears it.
'use strict';

const { payload, serve } = require('./service.js');
const { LatencyWindow } = require('./lib/latency-window.js');

const durations = new LatencyWindow();

import('./es-module.d/breadcrumbs.mjs').then(({ leaveBreadcrumb, trail }) => {
  serve(async (number) => {
    const begun = performance.now();
    leaveBreadcrumb('http', `GET /basket/${number}?token=${payload(64)}`); // place
    await new Promise(setImmediate);
    if (number % 2 === 0) leaveBreadcrumb('query', `select * from basket where id = ${number}`); // place
    durations.add(performance.now() - begun);
    return { trail: trail() };
  });
});
