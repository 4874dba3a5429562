// BullMQ's client: it takes the arguments of driver.py, measures what that measures, and prints the same figures.
'use strict';
const { parseArgs } = require('node:util');
const { isDeepStrictEqual } = require('node:util');
const { Queue, QueueEvents } = require('bullmq');
const { connection } = require('./connection.cjs');

const A_CALL = 1000;
const WARM = 50;
const LONGEST = 30;

const { values: told, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    job: { type: 'string', default: 'noop' },
    jobs: { type: 'string', default: '1000' },
    callers: { type: 'string', default: '100' },
    size: { type: 'string', default: '100' },
  },
});
const jobs = Number(told.jobs);
const callers = Number(told.callers);
const payload = { text: text(Number(told.size) - 20), number: 1 };
const queue = new Queue('benchmark', { connection });
const now = () => Number(process.hrtime.bigint()) / 1e9;

// Letters, always the same, that do not compress well.
function text(size) {
  const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
  let state = 1;
  let made = '';
  while (made.length < Math.max(size, 1)) {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    made += letters[(state >>> 16) % letters.length];
  }
  return made;
}

function turns(left) {
  const until = now() + LONGEST;
  const taker = {
    taken: 0,
    take() {
      if (left === 0 || now() > until) return false;
      left -= 1;
      taker.taken += 1;
      return true;
    },
  };
  return taker;
}

async function together(task) {
  await Promise.all(Array.from({ length: callers }, task));
}

async function enqueue() {
  const turn = turns(jobs);
  const cpu = process.cpuUsage();
  const began = now();
  await together(async () => {
    while (turn.take()) await queue.add(told.job, payload);
  });
  const seconds = now() - began;
  const used = process.cpuUsage(cpu);
  return { jobs: turn.taken, seconds, cpu: (used.user + used.system) / 1e6 };
}

async function bulk() {
  const began = now();
  for (let first = 0; first < jobs; first += A_CALL) {
    const many = Math.min(A_CALL, jobs - first);
    await queue.addBulk(Array.from({ length: many }, () => ({ name: told.job, data: payload })));
  }
  return { jobs, seconds: now() - began };
}

async function calls() {
  const events = new QueueEvents('benchmark', { connection });
  await events.waitUntilReady();
  const call = async () => {
    const job = await queue.add(told.job, payload);
    const result = await job.waitUntilFinished(events);
    if (!isDeepStrictEqual(result, payload)) throw new Error(`the job gave back ${JSON.stringify(result)}`);
  };
  for (let count = 0; count < WARM; count += 1) await call();
  const times = [];
  let turn = turns(Math.max(Math.floor(jobs / 10), 10));
  while (turn.take()) {
    const began = now();
    await call();
    times.push(now() - began);
  }
  turn = turns(jobs);
  const began = now();
  await together(async () => {
    while (turn.take()) await call();
  });
  const seconds = now() - began;
  times.sort((a, b) => a - b);
  await events.close();
  return {
    'round trips': times.length,
    p50: times[Math.floor(times.length / 2)],
    p99: times[Math.floor((times.length * 99) / 100)],
    calls: turn.taken,
    seconds,
  };
}

async function main() {
  await queue.waitUntilReady();
  const figures = await { enqueue, bulk, calls }[positionals[0]]();
  console.log(JSON.stringify(figures));
  await queue.close();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
