// Tests with the helper beside this file: REDKEEP=path/to/redkeep node --test examples/node

import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import Redis from "ioredis";
import { clock, start } from "./redkeep.mjs";

// What is tested: jobs for later, in a sorted set by the time at which they are due.
class Jobs {
  constructor(redis) {
    this.redis = redis;
  }

  // By the clock of the server: the machines of a cluster do not agree on theirs.
  async now() {
    const [seconds] = await this.redis.time();
    return Number(seconds);
  }

  async later(job, seconds) {
    await this.redis.zadd("jobs", (await this.now()) + seconds, job);
  }

  // Takes what is due; nobody else gets it.
  async due() {
    const jobs = await this.redis.zrange("jobs", "-inf", await this.now(), "BYSCORE");
    const taken = await Promise.all(jobs.map((job) => this.redis.zrem("jobs", job)));
    return jobs.filter((_, i) => taken[i] === 1);
  }
}

let server, redis, time;

before(async () => {
  server = await start();
  redis = new Redis(server.url);
  const send = (...words) => redis.call(...words);
  time = clock(send);
});

afterEach(async () => {
  await time.thaw();
  await redis.flushall();
});

after(async () => {
  redis.disconnect();
  await server.stop();
});

test("a job comes when it is due", async () => {
  const jobs = new Jobs(redis);
  await time.freeze();
  await jobs.later("invoice", 3600);
  await time.advance(3599);
  assert.deepEqual(await jobs.due(), []);
  await time.advance(1);
  assert.deepEqual(await jobs.due(), ["invoice"]);
});

test("a job is for one worker", async () => {
  const jobs = new Jobs(redis);
  await jobs.later("invoice", 0);
  const taken = await Promise.all([jobs.due(), jobs.due(), jobs.due()]);
  assert.deepEqual(taken.flat(), ["invoice"]);
});

test("no test sees what another has left", async () => {
  assert.equal(await redis.dbsize(), 0);
});

test("a server of its own, with a password", async () => {
  const guarded = await start("--requirepass", "secret");
  const stranger = new Redis(guarded.url);
  await assert.rejects(stranger.dbsize(), /NOAUTH/);
  const friend = new Redis(guarded.url.replace("redis://", "redis://:secret@"));
  assert.equal(await friend.dbsize(), 0);
  stranger.disconnect();
  friend.disconnect();
  await guarded.stop();
});

test("a client comes back when its server does", async () => {
  const first = await start();
  const port = new URL(first.url).port;
  const client = new Redis(first.url, { retryStrategy: () => 10 });
  client.on("error", () => {}); // It would print each attempt.
  await client.set("k", "v");
  await first.stop();
  const second = await start("--port", port);
  assert.equal(await client.get("k"), null);
  client.disconnect();
  await second.stop();
});

test("what does not start says why", async () => {
  await assert.rejects(start("--no-such-option", "1"), /no-such-option/);
});
