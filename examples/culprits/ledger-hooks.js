// Bundled and minified by esbuild, with a source map (see ledger-hooks.d/build.sh): ledgers and what is to be done at the end of the day.
'use strict';

require('./ledger-hooks.d/dist/server.js');
