// Comma-separated values after RFC 4180: quotes, quoted line ends, a header that names the columns.

/** Text that is no table. Says the line. */
export class CsvError extends Error {
  name = 'CsvError';
}

/** Records of `text`, each an array of cells. */
function* records(text) {
  let cells = [];
  let cell = '';
  let line = 1;
  let begun = 1;
  let quoted = false;
  for (let at = 0; at < text.length; at += 1) {
    const char = text[at];
    if (char === '\n') line += 1;
    if (quoted) {
      if (char !== '"') cell += char;
      else if (text[at + 1] === '"') cell += text[(at += 1)];
      else quoted = false;
    } else if (char === '"' && cell === '') {
      quoted = true;
    } else if (char === ',') {
      cells.push(cell);
      cell = '';
    } else if (char === '\n') {
      cells.push(cell.endsWith('\r') ? cell.slice(0, -1) : cell);
      yield { line: begun, cells };
      [cells, cell, begun] = [[], '', line];
    } else {
      cell += char;
    }
  }
  if (quoted) throw new CsvError(`line ${begun}: a quote is not closed`);
  if (cells.length > 0 || cell !== '') yield { line: begun, cells: [...cells, cell] };
}

/** A column is numeric if every cell that is not empty is a number; an empty cell of it is NaN. */
function typed(cells) {
  const numbers = new Float64Array(cells.length);
  let filled = 0;
  for (const [row, cell] of cells.entries()) {
    const number = cell.trim() === '' ? NaN : Number(cell);
    if (Number.isNaN(number) && cell.trim() !== '') return cells;
    if (!Number.isNaN(number)) filled += 1;
    numbers[row] = number;
  }
  return filled > 0 ? numbers : cells;
}

/**
 * Columns by name: a Float64Array or an array of strings each.
 *
 * @throws {CsvError} no header, a column without a name or with another's, a row of another length
 */
export function parseCsv(text) {
  if (typeof text !== 'string') throw new TypeError('CSV is a string');
  const rows = records(text.startsWith('\uFEFF') ? text.slice(1) : text);
  const header = rows.next().value?.cells.map((name) => name.trim());
  if (header === undefined) throw new CsvError('line 1: there is no header');
  for (const [position, name] of header.entries()) {
    if (name === '') throw new CsvError(`line 1: column ${position + 1} has no name`);
    if (header.indexOf(name) !== position) throw new CsvError(`line 1: two columns are called '${name}'`);
  }
  const columns = header.map(() => []);
  for (const { line, cells } of rows) {
    if (cells.length !== header.length) {
      throw new CsvError(`line ${line}: ${cells.length} cells where the header has ${header.length}`);
    }
    for (const [position, cell] of cells.entries()) columns[position].push(cell);
  }
  return new Map(header.map((name, position) => [name, typed(columns[position])]));
}
