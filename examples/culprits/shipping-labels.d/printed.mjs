// What was printed, by parcel: whoever asks twice gets the same label.

export const printedLabels = new Map(); // place

export class Label {
  constructor(parcel, text) {
    this.parcel = parcel;
    this.text = text;
  }
}
