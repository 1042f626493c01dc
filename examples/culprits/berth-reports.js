// In TypeScript, run by tsx: the berths of a few harbours; each question listens for the reports on its own harbour.
'use strict';

require('tsx/cjs');
require('./berth-reports.d/server.ts');
