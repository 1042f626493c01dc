// Starts a repeating timer per request and never clears it. With --fixed it is cleared at once.
'use strict';

const { answerOk, fixed, serve } = require('./subject.js');

serve((_request, response) => {
  // Unref'd and far apart, so that the timers cost memory but no time.
  const timer = setInterval(() => {}, 3_600_000).unref();
  if (fixed) clearInterval(timer);
  answerOk(response);
});
