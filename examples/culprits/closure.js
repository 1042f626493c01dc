// Each report keeps a method; its scope is shared with a helper that reads the report before it. So all reports stay.
'use strict';

const { FIXED, payload, serve } = require('./service.js');

let latestReport = null; // place

function composeReport(number) { // place
  const previousReport = FIXED ? null : latestReport;
  const body = payload();
  const compare = () => previousReport && previousReport.number < number; // place
  compare();
  latestReport = {
    number,
    body,
    describe: () => `report ${number}`, // place
  };
}

serve((number) => {
  composeReport(number);
  return { describes: latestReport.describe() };
});
