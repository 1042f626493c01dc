// Templates are loaded anew per request "to see changes at once": the old ones stay among the children of this module.
'use strict';

const path = require('node:path');
const { FIXED, serve } = require('./service.js');

const template = path.join(__dirname, 'module-cache.d', 'template.js');

serve((number) => {
  if (!FIXED) delete require.cache[template];
  const { render } = require(template); // place
  return { text: render(number) };
});
