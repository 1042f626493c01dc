// A page template, as a module of its own.
'use strict';

const phrases = Array.from({ length: 12 }, (_, i) => `phrase ${i} of this copy, made at ${process.hrtime.bigint()}`);

exports.render = (number) => `${phrases[number % phrases.length]} for ${number}`;
