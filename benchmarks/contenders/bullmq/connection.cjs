// Where the run's server is, as BullMQ takes it.
'use strict';
const url = new URL(process.env.BENCHMARK_URL);
exports.connection = { host: url.hostname, port: Number(url.port), maxRetriesPerRequest: null };
