import 'reflect-metadata';
import { container } from 'tsyringe';
import { FIXED, payload, serve } from '../service.js';
import { count } from '../lib/hourly-counts.js';
import { note } from '../lib/rolling-log.js';
import { TicketDesk } from './ticket-desk';
import { PRICES, Visitor, VISITOR } from './tokens';

container.register(PRICES, { useValue: { of: (exhibition: number) => 900 + 50 * (exhibition % 9) } });
container.register(TicketDesk, {
  useFactory: (scope) => new TicketDesk(scope.resolve(VISITOR), scope.resolve(PRICES)),
});

serve((number: number) => {
  const visitor = new Visitor(number, number % 3 === 0 ? 'de' : 'en', payload(220)); // place
  const scope = FIXED ? container.createChildContainer() : container;
  scope.register(VISITOR, { useValue: visitor }); // place
  const offer = scope.resolve(TicketDesk).offer(number % 40);
  count(visitor.language);
  if (number % 150 === 0) note(offer.text);
  return offer;
});
