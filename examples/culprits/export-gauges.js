// Each export registers a gauge of its own for the rows that it has written, and is done long before anybody unregisters it.
'use strict';

const { Counter, Gauge, Registry } = require('prom-client');
const { FIXED, payload, serve } = require('./service.js');
const { LatencyWindow } = require('./lib/latency-window.js');

const ledgerMetrics = new Registry(); // place
const exportsDone = new Counter({ name: 'ledger_exports', help: 'Exports done', registers: [ledgerMetrics] });
const exportTimes = new LatencyWindow();

async function exportLedger(number) {
  const name = `ledger_export_${number}_rows`;
  const rowsWritten = new Gauge({ // place
    name,
    help: `Rows written by export ${number} to ${payload(60)}`,
    registers: [ledgerMetrics], // place
  });
  for (let batch = 0; batch < 3; batch += 1) {
    await new Promise(setImmediate);
    rowsWritten.inc(40);
  }
  if (FIXED) ledgerMetrics.removeSingleMetric(name);
}

serve(async (number) => {
  const begun = performance.now();
  await exportLedger(number); // place
  exportsDone.inc();
  exportTimes.add(performance.now() - begun);
  return { number, p95: exportTimes.percentile(0.95) };
});
