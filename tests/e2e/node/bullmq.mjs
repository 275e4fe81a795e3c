// BullMQ: the version that BULLMQ names. Workers are in this process, but for those that are killed.

import assert from "node:assert/strict";
import { Redis } from "ioredis";
import { PORT, blocked, event, eventually, main, run, sleep, start } from "./runs.mjs";

const { FlowProducer, Queue, QueueEvents, UnrecoverableError, Worker } = await import(process.env.BULLMQ ?? "bullmq");
const connection = { host: "127.0.0.1", port: PORT, maxRetriesPerRequest: null };

const redis = new Redis(PORT);

const open = [];
const keep = (thing) => (open.push(thing), thing);
const queue = (name, options = {}) => keep(new Queue(name, { connection, ...options }));
const worker = (name, f, options = {}) => keep(new Worker(name, f, { connection, ...options }));
/** Listens to a queue, from its very first event on. */
const events = async (name) => {
  const before = await blocked(redis);
  const e = keep(new QueueEvents(name, { connection }));
  await eventually(async () => (await blocked(redis)) > before);
  return e;
};

/** A run whose queues and workers are closed after it. */
function withQueues(f) {
  const wrapped = {
    [f.name]: async () => {
      try {
        await f();
      } finally {
        for (const thing of open.splice(0).reverse()) await thing.close();
      }
    },
  };
  run(wrapped[f.name]);
}

withQueues(async function jobsAndTheirResults() {
  const q = queue("plain");
  const e = await events("plain");
  let running = 0;
  let most = 0;
  worker(
    "plain",
    async (job) => {
      most = Math.max(most, ++running);
      await job.updateProgress(50);
      await sleep(5);
      running -= 1;
      return job.data.n * 2;
    },
    { concurrency: 5 },
  );
  const jobs = await q.addBulk(Array.from({ length: 50 }, (_, n) => ({ name: "double", data: { n } })));
  const results = await Promise.all(jobs.map((job) => job.waitUntilFinished(e, 30_000)));
  assert.deepEqual(results, Array.from({ length: 50 }, (_, n) => n * 2));
  assert(most > 1 && most <= 5, `${most} at once`);
  await eventually(async () => (await q.getJobCounts()).completed === 50);
  const { active, waiting, failed, delayed } = await q.getJobCounts();
  assert.deepEqual([active, waiting, failed, delayed], [0, 0, 0, 0]);
  const job = await q.getJob(jobs[7].id);
  assert.equal(job.returnvalue, 14);
  assert.equal(job.progress, 50);
  assert.equal(await job.getState(), "completed");
});

withQueues(async function aJobIsAddedOnce() {
  const q = queue("once");
  const [a, b] = await Promise.all([q.add("x", { n: 1 }, { jobId: "same" }), q.add("x", { n: 2 }, { jobId: "same" })]);
  assert.equal(a.id, b.id);
  assert.equal(await q.getWaitingCount(), 1);
  const kept = [await q.add("y", {}, { deduplication: { id: "d" } }), await q.add("y", {}, { deduplication: { id: "d" } })];
  assert.equal(kept[0].id, kept[1].id);
  assert.equal(await q.count(), 2);
});

withQueues(async function delayedJobs() {
  const q = queue("delayed");
  const e = await events("delayed");
  const order = [];
  worker("delayed", async (job) => order.push([job.name, Date.now()]));
  const since = Date.now();
  const late = await q.add("late", {}, { delay: 800 });
  const soon = await q.add("soon", {}, { delay: 400 });
  assert.equal(await q.getDelayedCount(), 2);
  await q.add("now", {});
  await Promise.all([late, soon].map((j) => j.waitUntilFinished(e, 30_000)));
  assert.deepEqual(order.map(([name]) => name), ["now", "soon", "late"]);
  assert(order[1][1] - since >= 400 && order[2][1] - since >= 800);
  const promoted = await q.add("promoted", {}, { delay: 3_600_000 });
  await promoted.promote();
  await promoted.waitUntilFinished(e, 30_000);
});

withQueues(async function retriesWithBackoff() {
  const q = queue("retried");
  const e = await events("retried");
  const times = [];
  worker("retried", async (job) => {
    if (job.name === "hopeless") throw new UnrecoverableError("never");
    times.push(Date.now());
    if (job.attemptsMade < 2) throw new Error(`attempt ${job.attemptsMade}`);
    return "at last";
  });
  const job = await q.add("stubborn", {}, { attempts: 3, backoff: { type: "exponential", delay: 60 } });
  assert.equal(await job.waitUntilFinished(e, 30_000), "at last");
  assert.equal(times.length, 3);
  assert(times[1] - times[0] >= 55 && times[2] - times[1] >= 110, `${times}`);
  const hopeless = await q.add("hopeless", {}, { attempts: 5, backoff: 10 });
  await assert.rejects(hopeless.waitUntilFinished(e, 30_000), /never/);
  const [failed] = await q.getFailed();
  assert.equal(failed.failedReason, "never");
  assert.equal(failed.attemptsMade, 1);
  assert.equal(await failed.getState(), "failed");
  await failed.remove();
  assert.equal(await q.getFailedCount(), 0);
});

withQueues(async function flows() {
  const flow = keep(new FlowProducer({ connection }));
  const e = await events("parents");
  const order = [];
  worker("children", async (job) => (order.push(job.name), job.data.n), { concurrency: 3 });
  worker("parents", async (job) => {
    order.push(job.name);
    return Object.values(await job.getChildrenValues()).reduce((a, b) => a + b, 0);
  });
  const child = (n) => ({ name: `child ${n}`, queueName: "children", data: { n } });
  const tree = await flow.add({
    name: "root",
    queueName: "parents",
    children: [{ name: "middle", queueName: "parents", children: [child(1), child(2)] }, child(3), child(4)],
  });
  assert.equal(await tree.job.waitUntilFinished(e, 30_000), 10);
  assert.equal(order.at(-1), "root");
  assert(order.indexOf("middle") > order.indexOf("child 1") && order.indexOf("middle") > order.indexOf("child 2"));
  const values = await tree.job.getDependenciesCount();
  assert.equal(values.processed, 3);
  assert.equal(values.unprocessed, 0);
});

withQueues(async function aParentFailsWithItsChild() {
  const flow = keep(new FlowProducer({ connection }));
  const e = await events("parents");
  worker("children", async () => {
    throw new Error("the child fails");
  });
  worker("parents", async () => "never");
  const tree = await flow.add({
    name: "root",
    queueName: "parents",
    children: [{ name: "child", queueName: "children", data: {}, opts: { failParentOnFailure: true } }],
  });
  await assert.rejects(tree.job.waitUntilFinished(e, 30_000), /child/);
});

withQueues(async function aRateLimit() {
  const q = queue("limited");
  const times = [];
  const since = Date.now();
  worker("limited", async () => times.push(Date.now() - since), { limiter: { max: 3, duration: 300 }, concurrency: 10 });
  await q.addBulk(Array.from({ length: 9 }, () => ({ name: "x", data: {} })));
  await eventually(() => times.length === 9);
  assert(times[3] >= 300 && times[6] >= 600, `no more than three in 300 ms: ${times}`);
});

withQueues(async function priorities() {
  const q = queue("ranked");
  for (const [name, priority] of [["c", 10], ["a", 1], ["d", 10], ["b", 5], ["first", undefined]]) {
    await q.add(name, {}, { priority });
  }
  assert.equal(await q.getPrioritizedCount(), 4);
  await (await q.getJobs(["prioritized"])).find((j) => j.name === "d").changePriority({ priority: 2 });
  await q.add("lifo", {}, { lifo: true });
  const order = [];
  worker("ranked", async (job) => order.push(job.name));
  await eventually(() => order.length === 6);
  assert.deepEqual(order, ["lifo", "first", "a", "d", "b", "c"]);
});

withQueues(async function pauseAndResume() {
  const q = queue("paused");
  const done = [];
  const w = worker("paused", async (job) => done.push(job.name));
  await w.waitUntilReady();
  await q.pause();
  assert.equal(await q.isPaused(), true);
  await q.add("a", {});
  await q.add("b", {});
  await sleep(200);
  assert.deepEqual(done, []);
  await q.resume();
  await eventually(() => done.length === 2);
  assert.deepEqual(done, ["a", "b"]);
  await w.pause();
  await q.add("c", {});
  assert.equal(w.isPaused(), true);
  w.resume();
  await eventually(() => done.length === 3);
  await q.pause();
  await q.add("d", {});
  await q.drain();
  assert.equal(await q.count(), 0);
  await q.resume();
});

withQueues(async function scheduledJobs() {
  const q = queue("repeated");
  const times = [];
  const since = Date.now();
  worker("repeated", async (job) => times.push([job.name, Date.now() - since]));
  await q.upsertJobScheduler("each", { every: 120 }, { name: "tick", data: {} });
  await eventually(() => times.length >= 4);
  const schedulers = await q.getJobSchedulers();
  assert.equal(schedulers.length, 1);
  assert.equal(schedulers[0].key, "each");
  assert.equal(await q.removeJobScheduler("each"), true);
  assert.deepEqual(await q.getJobSchedulers(), []);
  assert(times.every(([name]) => name === "tick"));
  assert(times[3][1] >= 240, `three intervals, of which the first may have begun before: ${times}`);
  const count = times.length;
  await sleep(400);
  assert(times.length <= count + 1, "nothing comes after the scheduler is gone");
  await q.upsertJobScheduler("nightly", { pattern: "0 3 * * *" }, { name: "night" });
  const [night] = await q.getDelayed();
  assert.equal(night.name, "night");
  assert.equal(new Date(night.timestamp + night.delay).getMinutes(), 0);
});

withQueues(async function whatHappensIsTold() {
  const q = queue("told");
  const e = await events("told");
  const told = [];
  for (const name of ["added", "waiting", "active", "progress", "completed", "failed", "drained"]) {
    e.on(name, (args) => told.push(`${name} ${args.jobId ?? ""}`.trim()));
  }
  worker("told", async (job) => {
    await job.updateProgress({ part: 1 });
    if (job.name === "bad") throw new Error("no luck");
    return "ok";
  });
  await q.add("good", {}, { jobId: "g" });
  await eventually(() => told.includes("completed g"));
  await q.add("bad", {}, { jobId: "b" });
  await eventually(() => told.includes("failed b"));
  const of = (id) => told.filter((t) => t.endsWith(` ${id}`)).map((t) => t.split(" ")[0]);
  assert.deepEqual(of("g"), ["added", "waiting", "active", "progress", "completed"]);
  assert.deepEqual(of("b"), ["added", "waiting", "active", "progress", "failed"]);
});

withQueues(async function jobsOfAKilledWorkerAreDoneByAnother() {
  const q = queue("stalled");
  const e = await events("stalled");
  const victim = start("bullmq_victim.mjs");
  const job = await q.add("sleep", {}, { jobId: "s" });
  await eventually(() => redis.get("victim has"));
  assert.equal(await q.getActiveCount(), 1);
  const ended = event(victim, "exit");
  victim.kill("SIGKILL");
  await ended;
  const stalled = event(e, "stalled");
  worker("stalled", async () => "done by another", { stalledInterval: 200, lockDuration: 500 });
  assert.deepEqual((await stalled)[0], { jobId: "s" });
  assert.equal(await job.waitUntilFinished(e, 30_000), "done by another");
  assert.equal((await q.getJob("s")).stalledCounter, 1);
});

withQueues(async function aQueueIsEmptied() {
  const q = queue("full");
  await q.addBulk(Array.from({ length: 200 }, (_, n) => ({ name: "x", data: { n }, opts: n % 2 ? { delay: 60_000 } : {} })));
  assert.equal(await q.count(), 200);
  const removed = await q.clean(0, 1000, "delayed");
  assert.equal(removed.length, 100);
  await q.obliterate({ force: true });
  assert.deepEqual(await redis.keys("bull:full*"), []);
});

await main();
