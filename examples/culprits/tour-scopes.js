// In TypeScript, run by tsx: each booking gets a container of its own for what it needs, and the container outlives it.
'use strict';

require('tsx/cjs');
require('./tour-scopes.d/server.ts');
