'use strict';
const plimsoll = require('plimsoll/mocha');
require('./cases.cjs').define({ test: it, expect: plimsoll.expect, plimsoll, operations: require('./operations.cjs'), sessions: require('./sessions.cjs') });
