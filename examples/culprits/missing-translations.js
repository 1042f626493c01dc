// Texts without a translation are saved for the translators; one has the customer's data in its key instead of in its values.
'use strict';

const i18next = require('i18next');
const { FIXED, payload, serve } = require('./service.js');
const { LatencyWindow } = require('./lib/latency-window.js');

const parcelTexts = i18next.createInstance(); // place
parcelTexts.init({ // place
  lng: 'de',
  fallbackLng: 'de',
  ns: ['parcelNotices'],
  defaultNS: 'parcelNotices',
  keySeparator: false,
  nsSeparator: false,
  saveMissing: true, // place
  initImmediate: false,
  interpolation: { escapeValue: false },
  resources: { de: { parcelNotices: { 'Your parcel is on its way': 'Ihr Paket ist unterwegs' } } },
});
const times = new LatencyWindow();

function noticeOf(parcel) {
  if (FIXED) return parcelTexts.t('Parcel {{number}} is kept for you at {{shop}}', parcel);
  return parcelTexts.t(`Parcel ${parcel.number} is kept for you at ${parcel.shop}`); // place
}

serve((number) => {
  const begun = performance.now();
  const title = parcelTexts.t('Your parcel is on its way');
  const notice = noticeOf({ number, shop: payload(240) }); // place
  times.add(performance.now() - begun);
  return { title, notice: notice.slice(0, 40) };
});
