// In ES modules: pages of a statement come from a generator that takes itself off a list at its end; most are left at page one.
'use strict';

import('./statement-pages.d/server.mjs');
