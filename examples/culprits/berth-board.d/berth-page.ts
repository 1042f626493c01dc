import { reaction } from 'mobx';
import type { HarbourBoard } from './board';

/** What a visitor sees of one berth; brought up to date as the board changes. */
export class BerthPage { // place
  headline: string;
  readonly leave: () => void;

  constructor(board: HarbourBoard, readonly berth: number, readonly ship: string) { // place
    this.headline = this.describe(board.waitMinutes);
    this.leave = reaction( // place
      () => board.waitMinutes, // place
      (minutes) => { // place
        this.headline = this.describe(minutes);
      },
    );
  }

  private describe(minutes: number): string {
    return minutes === 0 ? `berth ${this.berth} is free` : `berth ${this.berth}: ${minutes} min`;
  }
}
