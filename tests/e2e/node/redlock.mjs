// redlock: locks that are taken, extended and given back by scripts.

import assert from "node:assert/strict";
import { Redis } from "ioredis-5";
import { PORT, eventually, main, run, sleep } from "./runs.mjs";
import redlockModule from "redlock";

const Redlock = redlockModule.default ?? redlockModule;
const { ExecutionError, ResourceLockedError } = redlockModule.ExecutionError ? redlockModule : await import("redlock");
const redis = new Redis(PORT);
const once = { retryCount: 0 };
const patient = { retryCount: 2000, retryDelay: 5, retryJitter: 5 };
const locks = (settings) => {
  const made = new Redlock([redis], settings);
  made.on("error", () => {});
  return made;
};

run(async function acquireExtendAndRelease() {
  const [a, b] = [locks(once), locks(once)];
  let lock = await a.acquire(["r"], 30_000);
  assert.equal(await redis.get("r"), lock.value);
  const left = await redis.pttl("r");
  assert(left > 29_000 && left <= 30_000);
  await assert.rejects(b.acquire(["r"], 1000), (error) => {
    assert(error instanceof ExecutionError);
    return true;
  });
  lock = await lock.extend(60_000);
  assert((await redis.pttl("r")) > 59_000);
  await lock.release();
  assert.equal(await redis.exists("r"), 0);
  await assert.rejects(lock.release(), ExecutionError, "not twice");
  await (await b.acquire(["r"], 1000)).release();
});

run(async function manyResourcesAtOnce() {
  const a = locks(once);
  const lock = await a.acquire(["x", "y"], 30_000);
  await assert.rejects(a.acquire(["y", "z"], 1000), ExecutionError);
  assert.equal(await redis.exists("z"), 0, "all or none");
  await lock.release();
  assert.equal(await redis.exists("x", "y"), 0);
});

run(async function scriptsAreSentAgainAfterAFlush() {
  const a = locks(once);
  const lock = await a.acquire(["r"], 30_000);
  await redis.script("FLUSH");
  await lock.release();
  await (await a.acquire(["r"], 30_000)).release();
});

run(async function oneHolderAtATime() {
  let held = 0;
  let rounds = 0;
  const work = async () => {
    const mine = locks(patient);
    for (let i = 0; i < 10; i++) {
      const lock = await mine.acquire(["busy"], 30_000);
      held += 1;
      assert.equal(held, 1, "two hold the lock");
      await redis.incr("rounds");
      held -= 1;
      rounds += 1;
      await lock.release();
    }
  };
  await Promise.all([work(), work(), work(), work()]);
  assert.equal(rounds, 40);
  assert.equal(await redis.get("rounds"), "40");
});

run(async function aLockThatRunsOut() {
  const lock = await locks(once).acquire(["r"], 30);
  const other = await locks(patient).acquire(["r"], 30_000);
  await assert.rejects(lock.release(), ExecutionError);
  await assert.rejects(lock.extend(1000), ExecutionError);
  assert.equal(await redis.get("r"), other.value);
  await other.release();
});

run(async function usingExtendsByItself() {
  const made = locks({ ...once, automaticExtensionThreshold: 500 });
  const seen = new Set();
  const result = await made.using(["r"], 1000, async (signal) => {
    const since = performance.now();
    const other = locks(once);
    while (performance.now() - since < 1500) {
      assert(!signal.aborted, signal.error);
      await assert.rejects(other.acquire(["r"], 1000), ExecutionError, "held beyond its time");
      seen.add(await redis.get("r"));
      await sleep(20);
    }
    return "done";
  });
  assert.equal(result, "done");
  assert.equal(seen.size, 1);
  assert.equal(await redis.exists("r"), 0);
});

run(async function usingTellsWhenTheLockIsLost() {
  const made = locks({ ...once, automaticExtensionThreshold: 100 });
  const lost = made.using(["r"], 200, async (signal) => {
    await redis.set("r", "another's");
    await eventually(() => signal.aborted);
    throw signal.error;
  });
  await assert.rejects(lost);
  assert.equal(await redis.get("r"), "another's");
  assert(ResourceLockedError);
});

await main();
