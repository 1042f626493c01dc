// In TypeScript, run by tsx: a lorry waits a moment for the gate to open; what waits for the state of the machine waits on.
'use strict';

require('tsx/cjs');
require('./gate-waiters.d/server.ts');
