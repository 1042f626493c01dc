// Writes a valid snapshot of any size: a tree of objects with names, every tenth node a string of its own.
// Usage: node write-huge.mjs FILE GIGABYTES
import fs from 'node:fs';

const [file, gigabytes] = process.argv.slice(2);
if (!gigabytes) throw new Error('usage: node write-huge.mjs FILE GIGABYTES');
// Counted: about 88 bytes of text per node, edges and strings included.
const count = Math.round((Number(gigabytes) * 1e9) / 88);
const edgesPerNode = 3;
const strings = Math.ceil(count / 10) + 100;
const out = fs.openSync(file, 'w');
let buffer = [];
let length = 0;
const write = (text) => {
  buffer.push(text);
  length += text.length;
  if (length > 1 << 22) flush();
};
const flush = () => {
  fs.writeSync(out, buffer.join(''));
  buffer = [];
  length = 0;
};
// Node i refers to the 3 nodes from 3i + 1 on where they exist, else to three before it: a tree with cross references.
const targets = (i) => [1, 2, 3].map((k) => (3 * i + k < count ? 3 * i + k : (i * 7 + k * 1013) % count));
write(`{"snapshot":{"meta":{"node_fields":["type","name","id","self_size","edge_count","detachedness"],"node_types":[["hidden","array","string","object","code","closure","regexp","number","native","synthetic"],"string","number","number","number","number"],"edge_fields":["type","name_or_index","to_node"],"edge_types":[["context","element","property","internal","hidden","shortcut","weak"],"string_or_number","node"],"location_fields":["object_index","script_id","line","column"]},"node_count":${count},"edge_count":${count * edgesPerNode},"trace_function_count":0,"extra_native_bytes":0},\n"nodes":[`);
for (let i = 0; i < count; i++) {
  const type = i === 0 ? 9 : i % 10 === 0 ? 2 : i % 7 === 0 ? 1 : 3;
  write(`${i ? '\n,' : ''}${type},${type === 2 ? 100 + i / 10 : i % 100},${2 * i + 1},${i === 0 ? 0 : 16 + (i % 9) * 8},${edgesPerNode},0`);
}
write('],\n"edges":[');
for (let i = 0; i < count; i++) {
  for (const [k, to] of targets(i).entries()) write(`${i || k ? '\n,' : ''}${k === 2 ? 3 : 2},${k},${to * 6}`);
}
write('],\n"locations":[],\n"strings":[');
for (let i = 0; i < strings; i++) write(`${i ? ',\n' : ''}"text ${i} of a snapshot that no browser opens"`);
write(']}\n');
flush();
fs.closeSync(out);
console.log(`${file}: ${count} nodes, ${fs.statSync(file).size} bytes`);
