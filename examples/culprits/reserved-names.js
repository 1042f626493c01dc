// In TypeScript, run by tsx: names of drafts are reserved in a trie; who gives one back takes off its mark, not its letters.
'use strict';

require('tsx/cjs');
require('./reserved-names.d/server.ts');
