// Values that stand for a moment; what is over time is swept as others come, and there are never more than `limit`.
'use strict';

module.exports = function shortLived(milliseconds, limit = 200) {
  const held = new Map();
  return {
    put(key, value) {
      const now = Date.now();
      for (const [old, { until }] of held) {
        if (until > now && held.size < limit) break;
        held.delete(old);
      }
      held.set(key, { value, until: now + milliseconds });
    },
    take(key) {
      const found = held.get(key);
      held.delete(key);
      return found?.value;
    },
  };
};
