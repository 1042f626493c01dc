// Answers of the help desk are written in Markdown; links are bent to the ticket by a renderer that each answer adds.
'use strict';

const { Marked, marked } = require('marked');
const { FIXED, payload, serve } = require('./service.js');
const { LatencyWindow } = require('./lib/latency-window.js');
const { note } = require('./lib/rolling-log.js');

const renderTimes = new LatencyWindow();

marked.use({ gfm: true, breaks: true }); // place

/** Links of an answer lead by way of the ticket, so that one sees who followed them. */
function linksByTicket(ticket) {
  return { // place
    renderer: { // place
      link({ href, text }) { // place
        return `<a href="/tickets/${ticket.number}/go?to=${encodeURIComponent(href)}" title="${ticket.subject}">${text}</a>`;
      },
    },
  };
}

function renderAnswer(ticket, text) {
  if (FIXED) return new Marked({ gfm: true, breaks: true }, linksByTicket(ticket)).parse(text);
  marked.use(linksByTicket(ticket)); // place
  return marked.parse(text);
}

serve((number) => {
  const began = performance.now();
  const ticket = { number, subject: payload(200), opened: Date.now() }; // place
  const html = renderAnswer(ticket, `Dear customer,\n\nplease see [our page](https://shop.example/help/${number % 40}).`); // place
  renderTimes.add(performance.now() - began);
  if (number % 300 === 0) note(`answered ${number}`);
  return { html, p90: renderTimes.percentile(0.9) };
});
