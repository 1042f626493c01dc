// Who asks to be called back gets a task at that time of the day; it is stopped when the call was made earlier.
'use strict';

const cron = require('node-cron');
const { FIXED, payload, serve } = require('./service.js');
const { count } = require('./lib/hourly-counts.js');
const { note } = require('./lib/rolling-log.js');

/** Who is to be called in which minute after eleven at night. */
const callByMinute = new Map();

cron.schedule('* 23 * * *', () => callByMinute.get(new Date().getMinutes())?.());

function callBack(customer) {
  function ring() { // place
    note(`ring ${customer.name} on ${customer.phone}`);
  }
  if (FIXED) {
    callByMinute.set(customer.minute, ring);
    return { stop: () => callByMinute.delete(customer.minute) };
  }
  return cron.schedule(`${customer.minute} 23 * * *`, ring); // place
}

serve(async (number) => {
  count('visit');
  // One customer in five wants a call.
  if (number % 5 !== 0) return { number };
  const customer = { name: payload(20), phone: `0${number}`, minute: (number / 5) % 60 };
  const task = callBack(customer);
  await new Promise(setImmediate);
  // Somebody at the desk was free.
  task.stop();
  return { called: customer.name };
});
