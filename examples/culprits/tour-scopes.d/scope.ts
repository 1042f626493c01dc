import { Container, Token } from 'typedi';
import type { ContainerInstance } from 'typedi';
import { FIXED } from '../service.js';

export interface Traveller {
  readonly number: number;
  readonly language: string;
  readonly remarks: string;
}

export const TRAVELLER = new Token<Traveller>('traveller');

/** Runs `work` with a container that knows who travels. */
export async function inScope<T>(traveller: Traveller, work: (scope: ContainerInstance) => Promise<T>): Promise<T> {
  const scopeId = `booking-${traveller.number}`;
  const scope = Container.of(scopeId); // place
  scope.set(TRAVELLER, traveller); // place
  try {
    return await work(scope);
  } finally {
    // Forgets the services of the scope; what the scope itself is, the library knows by its name.
    if (FIXED) Container.reset(scopeId);
    else scope.reset();
  }
}
