// Parcels that travel abroad are logged in detail: under a category of their own, so that its level can be another.
'use strict';

const { randomUUID } = require('node:crypto');
const log4js = require('log4js');
const { FIXED, payload, serve } = require('./service.js');
const { count } = require('./lib/hourly-counts.js');
const { note } = require('./lib/rolling-log.js');

log4js.configure({
  appenders: {
    support: { type: { configure: () => (event) => note(`${event.categoryName} ${event.data[0]}`) } },
  },
  categories: {
    default: { appenders: ['support'], level: 'warn' },
    abroad: { appenders: ['support'], level: 'debug' },
  },
});

const abroad = log4js.getLogger('abroad');

function loggerFor(parcel) {
  if (FIXED) return abroad;
  const logger = log4js.getLogger(`parcels.${parcel.id}`); // place
  logger.level = 'debug'; // place
  return logger;
}

serve((number) => {
  const parcel = { id: randomUUID(), country: number % 3 === 0 ? 'DE' : 'DK', waybill: payload(30) };
  count(parcel.country);
  const logger = parcel.country === 'DE' ? log4js.getLogger() : loggerFor(parcel); // place
  logger.debug(`customs of ${parcel.waybill}`);
  return { parcel: parcel.id, detailed: logger.isDebugEnabled() };
});
