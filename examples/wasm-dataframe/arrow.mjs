// Columns on their way into linear memory and seen there: numbers, and strings, without nulls.
//
// In they go as an Arrow IPC stream (https://arrow.apache.org/docs/format/Columnar.html#ipc-streaming-format): a message with
// the schema, one with the rows, and the end. The schema is written by Apache Arrow. Rows it would write too, in ten times the
// time, so they are written here.
//
// There they are found by Arrow's C Data Interface (https://arrow.apache.org/docs/format/CDataInterface.html).

import { Field, Float64, Schema, Table, tableToIPC, Utf8 } from 'apache-arrow';

/** A message without metadata. */
const END = new Uint32Array([0xffffffff, 0]);

/** Schemas that were used last, by names and types. */
const schemaMessages = new Map();
const SCHEMAS_KEPT = 32;

function schemaMessage(columns) {
  const key = JSON.stringify([...columns].map(([name, values]) => [name, isText(values)]));
  let message = schemaMessages.get(key);
  if (message === undefined) {
    const fields = [...columns].map(([name, values]) => new Field(name, isText(values) ? new Utf8() : new Float64(), false));
    const stream = tableToIPC(new Table(new Schema(fields), []), 'stream');
    message = stream.slice(0, stream.length - END.byteLength);
    schemaMessages.set(key, message);
    // A Map keeps the order of insertion: its first key is the oldest.
    if (schemaMessages.size > SCHEMAS_KEPT) schemaMessages.delete(schemaMessages.keys().next().value);
  }
  return message;
}

const isText = (values) => !ArrayBuffer.isView(values);
const padded = (bytes) => (bytes + 7) & ~7;

/** The buffers of a column, apart from the one that tells nulls. */
function buffersOf(values) {
  if (!isText(values)) return [values];
  const offsets = new Int32Array(values.length + 1);
  const text = Buffer.from(values.join(''));
  let end = 0;
  for (let row = 0; row < values.length; row += 1) {
    end += Buffer.byteLength(values[row]);
    offsets[row + 1] = end;
  }
  return [offsets, text];
}

/*
 * The metadata of a message with rows is a FlatBuffer of one shape, so that only numbers have to be filled in. Positions in
 * bytes; the first two words say that a message begins and how long its metadata is.
 *
 *    0  begin, length          8  offset of Message (16)
 *   12  vtable of Message     24  Message: vtable, header, bodyLength at 32, version, kind of header
 *   44  vtable of RecordBatch 56  RecordBatch: vtable, nodes, length at 64, buffers at 72
 *   76  count of nodes        80  nodes: rows and nulls of each column, then count and place of each buffer
 */
const HEAD = new Uint8Array(80);
{
  const view = new DataView(HEAD.buffer);
  view.setUint32(0, 0xffffffff, true);
  view.setUint32(8, 16, true);
  [12, 20, 16, 18, 4, 8].forEach((offset, field) => view.setUint16(12 + 2 * field, offset, true));
  view.setInt32(24, 12, true);
  view.setUint32(28, 28, true);
  view.setInt16(40, 4, true); // Version 5 of the metadata.
  view.setUint8(42, 3); // A record batch.
  [10, 20, 8, 4, 16].forEach((offset, field) => view.setUint16(44 + 2 * field, offset, true));
  view.setInt32(56, 12, true);
  view.setUint32(60, 16, true);
}

/** The stream of `columns`: by name, of one length, each a Float64Array or an array of strings. */
export function toIpcStream(columns, rows) {
  const schema = schemaMessage(columns);
  const buffers = [];
  for (const values of columns.values()) buffers.push(undefined, ...buffersOf(values));

  const nodesEnd = HEAD.length + 16 * columns.size;
  const metadata = nodesEnd + 8 + 16 * buffers.length;
  const body = buffers.reduce((sum, buffer) => sum + padded(buffer?.byteLength ?? 0), 0);
  const stream = new Uint8Array(schema.length + metadata + body + END.byteLength);
  stream.set(schema);
  stream.set(HEAD, schema.length);

  // Every message begins at a multiple of 8, and every number here at one of 4. Numbers of 64 bits fit into their lower half.
  const words = new Uint32Array(stream.buffer, schema.length, metadata / 4);
  words[1] = metadata - 8;
  words[32 / 4] = body;
  words[64 / 4] = rows;
  words[72 / 4] = nodesEnd + 4 - 72;
  words[76 / 4] = columns.size;
  for (let column = 0; column < columns.size; column += 1) words[HEAD.length / 4 + 4 * column] = rows;
  words[nodesEnd / 4 + 1] = buffers.length;
  let place = 0;
  for (const [index, buffer] of buffers.entries()) {
    const bytes = buffer?.byteLength ?? 0;
    words[nodesEnd / 4 + 2 + 4 * index] = place;
    words[nodesEnd / 4 + 4 + 4 * index] = bytes;
    if (bytes > 0) {
      const { buffer: memory, byteOffset } = buffer;
      stream.set(new Uint8Array(memory, byteOffset, bytes), schema.length + metadata + place);
    }
    place += padded(bytes);
  }
  new Uint32Array(stream.buffer, stream.length - END.byteLength).set(END);
  return stream;
}

/*
 * `struct ArrowArray` in a memory of 32 bits: four numbers of 64 bits and their like, then pointers to `buffers` and to
 * `children`. In words of four bytes.
 */
const BUFFERS = 40 / 4;
const CHILDREN = 44 / 4;

/** Where the buffers of each column begin. They stay there as long as the table lives. */
export function addressesOf(table, memory) {
  const exported = table.toFFI();
  try {
    const [array] = exported.arrayAddrs();
    // After the call: it may grow the memory, which detaches the buffer that was seen before.
    const words = new Uint32Array(memory.buffer);
    const children = words[array / 4 + CHILDREN];
    return Array.from({ length: words[array / 4 + 32 / 4] }, (_, column) => {
      const child = words[children / 4 + column];
      const buffers = words[child / 4 + BUFFERS];
      return [words[buffers / 4 + 1], words[buffers / 4 + 2]];
    });
  } finally {
    exported.free();
  }
}

/** Numbers in place. Gone as soon as the memory grows: nobody may keep them. */
export function numbersAt(memory, [data], rows) {
  return new Float64Array(memory.buffer, data, rows);
}

/** Strings, copied. */
export function stringsAt(memory, [offsets, data], rows) {
  const ends = new Int32Array(memory.buffer, offsets, rows + 1);
  const text = Buffer.from(memory.buffer, data, ends[rows]);
  return Array.from({ length: rows }, (_, row) => text.toString('utf8', ends[row], ends[row + 1]));
}
