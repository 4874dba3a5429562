// BullMQ's worker. Its tally is that of tally.py: jobs, and when the first one began and the last one ended, by the
// monotonic clock. A timer writes it, as there is no memory-mapped file here; the times in it are the jobs' own.
'use strict';
const fs = require('node:fs');
const path = require('node:path');
const { Worker } = require('bullmq');
const { connection } = require('./connection.cjs');

const CONCURRENCY = Number(process.env.BENCHMARK_CONCURRENCY);
const NAP_MS = Number(process.env.BENCHMARK_NAP) * 1000;
const WORKERS = Number(process.env.BENCHMARK_WORKERS);
const GATE_MS = 5000;

const place = path.join(process.env.BENCHMARK_TALLY, String(process.pid));
let count = 0;
let first = 0n;
let last = 0n;
let written = 0;

function began() {
  if (first !== 0n) return;
  fs.writeFileSync(place, Buffer.alloc(24));
  // Several workers begin together, however long each took to start: this stops the whole process.
  const sleep = new Int32Array(new SharedArrayBuffer(4));
  const until = Date.now() + GATE_MS;
  while (fs.readdirSync(process.env.BENCHMARK_TALLY).length < WORKERS && Date.now() < until) {
    Atomics.wait(sleep, 0, 0, 1);
  }
  first = process.hrtime.bigint();
}

function ended() {
  count += 1;
  last = process.hrtime.bigint();
}

async function run(job) {
  began();
  if (job.name === 'nap') await new Promise((resolve) => setTimeout(resolve, NAP_MS));
  ended();
  return job.data;
}

let file = 0;
setInterval(() => {
  if (count === written) return;
  if (file === 0) file = fs.openSync(place, 'r+');
  const row = Buffer.alloc(24);
  row.writeBigUInt64LE(BigInt(count), 0);
  row.writeBigUInt64LE(first, 8);
  row.writeBigUInt64LE(last, 16);
  fs.writeSync(file, row, 0, 24, 0);
  written = count;
}, 10);

const worker = new Worker('benchmark', run, { connection, concurrency: CONCURRENCY });
worker.on('error', (error) => console.error(error));
