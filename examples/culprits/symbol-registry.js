// Widgets register under a symbol of their own in a registry that all copies of the library share by Symbol.for.
'use strict';

const { FIXED, payload, serve } = require('./service.js');
const { SessionCache } = require('./lib/session-cache.js');

const REGISTRY = Symbol.for('harbour.widgets');
globalThis[REGISTRY] ??= Object.create(null); // place

const themes = new SessionCache(60);

function registerWidget(title, render) {
  const key = Symbol(title); // place
  globalThis[REGISTRY][key] = { title, render, mounted: true }; // place
  return key;
}

function unmount(key) {
  const widget = globalThis[REGISTRY][key];
  widget.mounted = false;
  if (FIXED) delete globalThis[REGISTRY][key];
}

serve((number) => {
  const theme = themes.touch(`theme-${number % 90}`, (name) => ({ name, colours: [payload(6), payload(6)] }));
  const rows = [payload(50), payload(50)];
  const key = registerWidget(`tide table ${number}`, function renderTideTable() { // place
    return `${theme.name}: ${rows.join()}`;
  });
  const html = globalThis[REGISTRY][key].render();
  unmount(key);
  return { html };
});
