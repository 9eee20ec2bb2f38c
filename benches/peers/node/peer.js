// Runs Node's proper-lockfile by the commands of harness.c (which explains them): peer.js SUBJECT FOLDER [SHARED-FILE].
// Node has no shared memory between processes, so nothing here checks whether two are inside at once.
'use strict';
const fs = require('fs');
const path = require('path');
const readline = require('readline');
const lockfile = require('proper-lockfile');

const file = path.join(process.argv[3], 'file');
fs.closeSync(fs.openSync(file, 'a'));
let free = null;

const now = () => Number(process.hrtime.bigint());
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

// The fast function where the lock is tried once. Where it waits, the package's own retries, with the shortest pauses that
// it allows.
const take = () => { free = lockfile.lockSync(file); };
const give = () => { free(); };
const wait = async () => {
  free = await lockfile.lock(file, { retries: { forever: true, minTimeout: 1, maxTimeout: 50, randomize: true } });
};

const timed = (n, body) => {
  let failures = 0;
  const began = now();
  for (let i = 0; i < n; i++) {
    try { body(); } catch (e) { failures++; }
  }
  return [now() - began, failures];
};

const commands = {
  cycle: (n) => timed(n, () => { take(); give(); }),
  whole: (n) => timed(n, () => { take(); give(); }), // nothing stays open between two locks
  busy: (n) => timed(n, () => {
    try { take(); } catch (e) {
      if (e.code === 'ELOCKED') return;
      throw e;
    }
    throw new Error('not busy');
  }),
  wait: async (n) => {
    const began = now();
    for (let i = 0; i < n; i++) {
      await wait();
      give();
    }
    return [now() - began, 0];
  },
  acquire: async () => { await wait(); return [now(), 0]; },
  release: async () => {
    await sleep(2);
    const began = now();
    give();
    await sleep(1);
    return [began, 0];
  },
  contend: async (begin, end) => {
    let locks = 0, failures = 0, counts = false;
    let before = process.resourceUsage().voluntaryContextSwitches;
    while (now() < end) {
      if (!counts && now() >= begin) {
        counts = true;
        locks = failures = 0;
        before = process.resourceUsage().voluntaryContextSwitches;
      }
      try {
        await wait();
        if (now() < end) locks++;
        give();
      } catch (e) { failures++; }
    }
    return [locks, failures, 0, process.resourceUsage().voluntaryContextSwitches - before];
  },
};

const main = async () => {
  console.log('ready');
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [command, ...numbers] = line.split(' ');
    console.log((await commands[command](...numbers.map(Number))).join(' '));
  }
  process.exit(0);
};
main();
