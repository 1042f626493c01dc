// In TypeScript, run by tsx: who visits is registered in the container of the whole service, which keeps all registrations.
'use strict';

require('tsx/cjs');
require('./visit-container.d/server.ts');
