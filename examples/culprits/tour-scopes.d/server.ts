import { Container, Token } from 'typedi';
import { payload, serve } from '../service.js';
import { count } from '../lib/hourly-counts.js';
import { inScope, TRAVELLER } from './scope';

class TourCatalogue {
  readonly tours = Array.from({ length: 40 }, (_, tour) => ({ tour, title: payload(50), price: 20 + tour }));

  find(number: number): { tour: number; title: string; price: number } {
    return this.tours[number % this.tours.length];
  }
}

const CATALOGUE = new Token<TourCatalogue>('catalogue');
Container.set(CATALOGUE, new TourCatalogue());

serve(async (number: number) => {
  // Who only looks needs no scope.
  if (number % 2 === 0) return Container.get(CATALOGUE).find(number);
  const traveller = { number, language: number % 3 === 0 ? 'de' : 'en', remarks: payload(300) }; // place
  return inScope(traveller, async (scope) => {
    count(traveller.language);
    await null;
    const who = scope.get(TRAVELLER);
    return { tour: Container.get(CATALOGUE).find(who.number).title, language: who.language };
  });
});
