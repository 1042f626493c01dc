/* Profiles of operations: what they left is in the comparison, and nothing of the profiler stays. */

import './binary.mjs';

import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { BinaryError, MemoryProfiler } from 'plimsoll';

class Invoice {
  constructor(number) {
    this.number = number;
    this.lines = new Array(50).fill(number);
  }
}

const kept = [];
const keep = (count) => {
  for (let i = 0; i < count; i++) kept.push(new Invoice(i));
};

async function inFolder(work) {
  const folder = mkdtempSync(join(tmpdir(), 'plimsoll-test-'));
  try {
    await work(folder);
  } finally {
    kept.length = 0;
    rmSync(folder, { recursive: true });
  }
}

test('an operation is profiled between snapshots that the engine compares', () =>
  inFolder(async (folder) => {
    const profiler = new MemoryProfiler({ outputDir: join(folder, 'out'), samplingBytes: 1024 });
    await profiler.startProfiling();
    assert.equal(profiler.isProfiling, true);
    const profile = await profiler.profileDuringOperation(async () => {
      keep(2000);
      return 'done';
    }, 'a / label');
    assert.equal(profile.value, 'done');
    assert.deepEqual(profile.gaps, []);
    assert.equal(profile.snapshots.length, 2);
    for (const file of profile.snapshots) {
      assert.match(file, /-a-label-(before|after)\.heapsnapshot$/);
      assert.equal(statSync(file).mode & 0o777, 0o600);
    }
    const invoices = profile.comparison.classes.find(({ name }) => name === 'Invoice');
    assert.equal(invoices.created, 2000);
    assert.equal(invoices.count, 2000);
    assert.match(invoices.place, /profiler\.test\.mjs:\d+/);
    // An array of fifty numbers, and the object around it.
    const each = (profile.liveBytesAfter - profile.liveBytesBefore) / 2000;
    assert.ok(each > 430 && each < 560, `${each} B`);

    const whole = await profiler.stopProfiling();
    assert.equal(profiler.isProfiling, false);
    assert.equal(whole.snapshots.length, 4);
    assert.equal(whole.operations[0].label, 'a / label');
    assert.equal(whole.operations[0].value, undefined);
    assert.ok(whole.comparison.classes.some(({ name, count }) => name === 'Invoice' && count === 2000));
    assert.ok(whole.allocators.some(({ place, bytes }) => /profiler\.test\.mjs:\d+$/.test(place) && bytes > 100_000), JSON.stringify(whole.allocators));
    assert.ok(Array.isArray(JSON.parse(readFileSync(whole.profileFile, 'utf8')).head.children));
  }));

test('misuse has a message, and what an operation throws passes through', () =>
  inFolder(async (folder) => {
    const profiler = new MemoryProfiler({ outputDir: folder, snapshots: false, samplingBytes: 0 });
    await assert.rejects(profiler.profileDuringOperation(() => 1), /call startProfiling\(\) first/);
    await assert.rejects(profiler.stopProfiling(), /call startProfiling\(\) first/);
    await profiler.startProfiling();
    await assert.rejects(profiler.startProfiling(), /stop it first/);
    await assert.rejects(profiler.profileDuringOperation(() => Promise.reject(new RangeError('no'))), RangeError);
    const both = [profiler.profileDuringOperation(() => 1), profiler.profileDuringOperation(() => 2)];
    const [first, second] = await Promise.allSettled(both);
    assert.equal(first.value.value, 1);
    assert.match(second.reason.message, /await it first/);
    const profile = await profiler.stopProfiling();
    assert.deepEqual([profile.snapshots, profile.comparison, profile.profileFile], [[], null, null]);
    assert.throws(() => new MemoryProfiler({ output: folder }), /no option `output`; there are: outputDir/);
    assert.throws(() => new MemoryProfiler({ samplingBytes: 'many' }), /samplingBytes/);
  }));

test('what is missing is a gap and not the end', () =>
  inFolder(async (folder) => {
    const binary = process.env.PLIMSOLL_BINARY;
    process.env.PLIMSOLL_BINARY = '/nowhere';
    try {
      const profiler = new MemoryProfiler({ outputDir: folder });
      await profiler.startProfiling();
      const profile = await profiler.profileDuringOperation(keep);
      assert.equal(profile.label, 'keep');
      assert.equal(profile.comparison, null);
      assert.match(profile.gaps.join(), /comparison: PLIMSOLL_BINARY names \/nowhere/);
      assert.ok(profile.snapshots.every(existsSync));
      await profiler.stopProfiling();
      assert.throws(() => profiler.browse(profile.snapshots[0]), BinaryError);
    } finally {
      process.env.PLIMSOLL_BINARY = binary;
    }
    writeFileSync(join(folder, 'file'), '');
    const nowhere = new MemoryProfiler({ outputDir: join(folder, 'file') });
    await nowhere.startProfiling();
    const { gaps } = await nowhere.stopProfiling();
    assert.match(gaps.join(), /there is no place for snapshots/);
    assert.match(gaps.join(), /allocations: /);
  }));
