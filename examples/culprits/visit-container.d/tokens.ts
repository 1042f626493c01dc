import type { InjectionToken } from 'tsyringe';

/** Who asks, with what the proxy told of him. */
export class Visitor { // place
  constructor(readonly number: number, readonly language: string, readonly remarks: string) {} // place
}

export interface Prices {
  of(exhibition: number): number;
}

export const VISITOR: InjectionToken<Visitor> = Symbol('visitor');
export const PRICES: InjectionToken<Prices> = Symbol('prices');
