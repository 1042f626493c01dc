import type { Prices, Visitor } from './tokens';

export class TicketDesk {
  constructor(private readonly visitor: Visitor, private readonly prices: Prices) {}

  offer(exhibition: number): { text: string; cents: number } {
    const cents = this.prices.of(exhibition);
    const text = this.visitor.language === 'de' ? `Ein Platz um ${cents} Cent` : `One seat at ${cents} cents`;
    return { text, cents };
  }
}
