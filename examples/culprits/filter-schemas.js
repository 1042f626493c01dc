// In TypeScript, run by tsx: the schema of a search is kept for its view, and the key of a view has in it when it was opened.
'use strict';

require('tsx/cjs');
require('./filter-schemas.d/server.ts');
