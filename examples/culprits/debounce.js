// Drafts are saved a moment after the last key stroke: one timer a user, which stays in the table when it has rung.
'use strict';

const { FIXED, payload, serve } = require('./service.js');
const { count } = require('./lib/hourly-counts.js');
const shortLived = require('./lib/short-lived.js');

const savedOfLate = shortLived(2_000, 100);
const saveByUser = new Map(); // place

function saveSoon(user, draft) {
  clearTimeout(saveByUser.get(user));
  const saving = setTimeout(function saveDraft() { // place
    if (FIXED) saveByUser.delete(user);
    savedOfLate.put(user, draft.text.length);
    count('saved');
  }, 5);
  saveByUser.set(user, saving); // place
}

serve((number) => {
  const user = `user-${number}`;
  for (let stroke = 1; stroke <= 3; stroke += 1) {
    saveSoon(user, { stroke, text: payload(120) });
  }
  return { user, saved: savedOfLate.take(`user-${number - 40}`) ?? 0 };
});
