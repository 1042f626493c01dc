// ES modules: the Map that grows is exported by one module and filled by another.
'use strict';

import('./shipping-labels.d/server.mjs').catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
