// The board of the harbour: which berth waits how long.

import { makeAutoObservable } from 'mobx';

export class HarbourBoard {
  waitMinutes = 0; // place
  closedBerths = 0;

  constructor() {
    makeAutoObservable(this); // place
  }

  get summary(): string {
    return this.closedBerths > 0 ? `${this.closedBerths} closed` : 'all open';
  }

  wait(minutes: number): void {
    this.waitMinutes = minutes;
  }

  close(berths: number): void {
    this.closedBerths = berths;
  }
}
