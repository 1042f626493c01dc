// A module that is imported again and again.
export function letter(i) { return `Dear ${i}`; }
