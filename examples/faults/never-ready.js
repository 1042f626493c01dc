// Runs, talks, and never listens.
'use strict';

const { limitLifetime } = require('./subject.js');

limitLifetime();
let attempts = 0;
setInterval(() => console.log(`still waiting for the database (attempt ${(attempts += 1)})`), 500);
