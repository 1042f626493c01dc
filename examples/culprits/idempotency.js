// A factory keeps answers by idempotency key in a map of its closure; what is over time is dropped only if it is asked for again.
'use strict';

const { FIXED, payload, serve } = require('./service.js');
const { count } = require('./lib/hourly-counts.js');

function createIdempotency({ keepFor, most }) {
  const answerByKey = new Map(); // place

  function answered(key) {
    const kept = answerByKey.get(key);
    if (kept === undefined) return undefined;
    if (kept.expires > Date.now()) return kept.answer;
    answerByKey.delete(key);
    return undefined;
  }

  return async function once(key, work) {
    const before = answered(key);
    if (before !== undefined) {
      count('repeated');
      return before;
    }
    const answer = await work();
    answerByKey.set(key, { answer, expires: Date.now() + keepFor }); // place
    if (FIXED && answerByKey.size > most) answerByKey.delete(answerByKey.keys().next().value);
    return answer;
  };
}

const once = createIdempotency({ keepFor: 500, most: 160 });

async function charge(number) {
  await null;
  return { charge: `ch_${number}`, receipt: payload(240) }; // place
}

serve((number) => {
  const key = `key-${Math.floor(number / 2)}`; // Every client asks twice.
  return once(key, () => charge(number));
});
