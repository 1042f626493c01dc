// Every request subscribes to the one stream of settings; subscriptions are ended in the fixed service only.
'use strict';

const { Subject } = require('rxjs');
const { FIXED, payload, serve } = require('./service.js');

const settingsChanges = new Subject(); // place

serve((number) => {
  const view = { number, text: payload() };
  const subscription = settingsChanges.subscribe(function applySettings(settings) { // place
    view.settings = settings;
  });
  if (FIXED) subscription.unsubscribe();
  return { number };
});
