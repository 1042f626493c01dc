// A cellar with its barrels.

import { FIXED } from '../service.js';
import { Aggregate, DomainEvent } from './aggregate';

export class BarrelMoved extends DomainEvent {
  constructor(aggregate: string, version: number, readonly bay: number, readonly waybill: string) {
    super(aggregate, version);
  }
}

export class Cellar extends Aggregate {
  readonly barrelsByBay = new Array<number>(12).fill(0);
  committed = 0;

  move(bay: number, waybill: string): void {
    this.record(new BarrelMoved(this.id, this.version + 1, bay, waybill));
  }

  protected apply(event: DomainEvent): void {
    if (event instanceof BarrelMoved) this.barrelsByBay[event.bay] += 1;
  }

  override markCommitted(): void {
    this.committed = this.version;
    if (FIXED) super.markCommitted();
  }
}
