// Scratch buffers that are used again; at most 32 wait.
'use strict';

const idle = [];

exports.borrow = () => idle.pop() ?? Buffer.alloc(1024);

exports.giveBack = (scratch) => {
  if (idle.length < 32) idle.push(scratch);
};
