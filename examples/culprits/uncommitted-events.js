// In TypeScript, run by tsx: events are forgotten by an aggregate once they are stored, unless its class has a way of its own to note that.
'use strict';

require('tsx/cjs');
require('./uncommitted-events.d/server.ts');
