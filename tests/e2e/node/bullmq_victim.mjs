// A worker that takes a job and never ends it: bullmq.mjs kills it.

import { Redis } from "ioredis";
import { PORT, sleep } from "./runs.mjs";

const { Worker } = await import(process.env.BULLMQ ?? "bullmq");
const connection = { host: "127.0.0.1", port: PORT, maxRetriesPerRequest: null };
const redis = new Redis(PORT);

new Worker(
  "stalled",
  async (job) => {
    await redis.set("victim has", job.id);
    await sleep(3_600_000);
  },
  { connection, lockDuration: 1000, stalledInterval: 200 },
);
