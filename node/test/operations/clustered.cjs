'use strict';
/* What a process of a cluster runs: leak tests of its own, told to the primary. */

const { check } = require('plimsoll');

const kept = [];
(async () => {
  const leaky = await check(() => kept.push({ a: 1 }), { explain: false });
  const clean = await check(() => ({ a: 1 }), { explain: false });
  process.send([leaky.verdict, clean.verdict], () => process.disconnect());
})();
