const kept = [];

export function operation() {
  kept.push({ since: 1 });
}
