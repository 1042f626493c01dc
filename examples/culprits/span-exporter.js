// The spans of each request go to the exporter of the first day of tracing, which keeps them in memory to look at.
'use strict';

const { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } = require('@opentelemetry/sdk-trace-base');
const { FIXED, payload, serve } = require('./service.js');
const { note } = require('./lib/rolling-log.js');

const dispatchSpans = new InMemorySpanExporter(); // place
const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(dispatchSpans)] }); // place
const tracer = provider.getTracer('dispatch');

function traced(name, attributes, work) {
  const span = tracer.startSpan(name, { attributes }); // place
  return work().finally(() => {
    span.end(); // place
    if (FIXED && dispatchSpans.getFinishedSpans().length >= 100) {
      note('a hundred spans');
      dispatchSpans.reset();
    }
  });
}

serve((number) =>
  traced('dispatch a van', { van: number % 40, waybill: payload(80) }, async () => { // place
    await new Promise(setImmediate);
    return { van: number % 40 };
  }));
