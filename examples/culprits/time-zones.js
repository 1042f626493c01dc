// Times are shown in the zone that the device says it is in; devices say anything, and each name is remembered.
'use strict';

const { DateTime } = require('luxon');
const { FIXED, payload, serve } = require('./service.js');
const { SessionCache } = require('./lib/session-cache.js');

const devices = new SessionCache();
const knownZones = new Set(Intl.supportedValuesOf('timeZone'));

function departureIn(zone) {
  const departure = DateTime.fromISO('2026-03-29T08:15:00Z');
  if (FIXED && !knownZones.has(zone)) return departure;
  const there = departure.setZone(zone); // place
  return there.isValid ? there : departure;
}

serve((number) => {
  const device = devices.touch(`device-${number % 90}`, () => ({ seen: 0 }));
  device.seen += 1;
  const zone = number % 3 === 0 ? 'Europe/Berlin' : `Device/${payload(40)}`;
  return { departure: departureIn(zone).toISO() };
});
