// In TypeScript, run by tsx: the page of a berth follows the board for as long as it is open, and is never told to stop.
'use strict';

require('tsx/cjs');
require('./berth-board.d/server.ts');
