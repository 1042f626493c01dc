// An ES module: ticket gates of a stadium, and requests that read along what the gates say.
'use strict';

import('./gate-readers.d/server.mjs').catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
