// An export is read page by page from a generator; most clients stop after the first page, and it waits in the list for ever.
'use strict';

const { FIXED, payload, serve } = require('./service.js');
const { note } = require('./lib/rolling-log.js');

const openExports = []; // place

function* pagesOf(account, rows) { // place
  try {
    for (let start = 0; start < rows.length; start += 2) {
      yield { account, page: start / 2, rows: rows.slice(start, start + 2) };
    }
  } finally {
    note(`export of ${account} is over`);
  }
}

function beginExport(account) {
  const rows = Array.from({ length: 6 }, () => payload(40));
  const pages = pagesOf(account, rows); // place
  openExports.push(pages); // place
  return pages;
}

function endExport(pages) {
  pages.return();
  openExports.splice(openExports.indexOf(pages), 1);
}

serve((number) => {
  const pages = beginExport(`account-${number}`);
  const first = pages.next().value;
  if (FIXED || number % 4 === 0) endExport(pages); // One client of four reads to the end.
  return first;
});
