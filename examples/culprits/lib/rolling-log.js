// The last lines of the log, for the support page.
'use strict';

const LIMIT = 120;
const lines = [];

exports.note = (text) => {
  lines.push({ at: Date.now(), text });
  if (lines.length > LIMIT) lines.shift();
};

exports.last = (count) => lines.slice(-count);
