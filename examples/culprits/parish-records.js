// In TypeScript, run by tsx: one unit of work for the whole service; it forgets what was changed, and not what was loaded.
'use strict';

require('tsx/cjs');
require('./parish-records.d/server.ts');
