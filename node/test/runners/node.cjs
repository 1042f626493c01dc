'use strict';
const { test } = require('node:test');
const plimsoll = require('plimsoll/node');
require('./cases.cjs').define({ test, expect: plimsoll.expect, plimsoll, operations: require('./operations.cjs'), sessions: require('./sessions.cjs') });
