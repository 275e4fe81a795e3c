// ioredis with sentinels, of the version that IOREDIS names, while leaders come and go: see follow.mjs.

import { randomUUID } from "node:crypto";
import { FLEET, GROUP, HELD, LOCK, NOTE, RELEASE, RESP, SENTINELS, STREAM, Work, main, port } from "./follow.mjs";

const { Redis } = await import(process.env.IOREDIS);

/** Two ways to notice that a leader is frozen: sentinels tell of another one, or no reply comes. */
const ways = { told: { failoverDetector: true }, timed: { socketTimeout: 1000 } };

function connect(options = {}) {
  const redis = new Redis({
    sentinels: SENTINELS,
    name: FLEET,
    ...(RESP === 3 ? { protocol: 3 } : {}),
    sentinelCommandTimeout: 1000,
    sentinelRetryStrategy: () => 50,
    retryStrategy: () => 50,
    maxRetriesPerRequest: null,
    // A leader of before that has become a replica says so.
    reconnectOnError: (error) => /^(READONLY|UNBLOCKED)/.test(error.message),
    ...options,
  });
  redis.on("error", () => {});
  // ioredis gives up for good when it is told of another leader just while it looks for one.
  redis.on("end", () => redis.connect().catch(() => {}));
  return redis;
}

const work = new Work();
const replica = connect({ role: "slave" });

function locker(redis) {
  return async (me) => {
    const token = randomUUID();
    if ((await redis.set(LOCK, token, "PX", HELD, "NX")) === null) return;
    const at = await work.holds(async () => port(await redis.info("server")));
    const released = await redis.eval(RELEASE, 1, LOCK, token);
    if (released !== 1) throw new Error("lost the lock");
    work.done(me, at);
  };
}

const adding = connect(ways.told);
let lost = 0;
adding.on("close", () => (lost += 1));

async function adder(me) {
  const before = lost;
  const entry = await adding.xadd(STREAM, "*", "n", randomUUID());
  const copies = await adding.wait(work.copies, 100);
  // WAIT is about what its own connection wrote.
  if (lost === before) work.added(entry, copies);
  work.done(me, port(await adding.info("server")));
}

const reading = connect(ways.timed);
// Whether something may have been handed out to a reader that it did not get.
let again = true;

async function reader(me) {
  try {
    const after = again ? "0" : ">";
    const reply = await reading.xreadgroup("GROUP", GROUP, "me", "COUNT", 100, "BLOCK", 200, "STREAMS", STREAM, after);
    const streams = reply === null ? [] : Array.isArray(reply) ? reply : Object.entries(reply);
    const got = streams.flatMap(([, entries]) => entries.map(([id]) => id));
    got.forEach((id) => work.read.add(id));
    if (got.length > 0) await reading.xack(STREAM, GROUP, ...got);
    again = again && got.length > 0;
    work.done(me, port(await reading.info("server")));
  } catch (error) {
    again = true;
    throw error;
  }
}

await adding.xgroup("CREATE", STREAM, GROUP, "0", "MKSTREAM");
await adding.set(NOTE, "read me");
const workers = { "locker a": locker(connect(ways.told)), "locker b": locker(connect(ways.timed)), adder, reader };
const passes = /lost the lock|READONLY|UNBLOCKED|Connection is closed|ECONN|EPIPE|Socket timeout|sentinels are unreachable/;
await main(work, workers, passes, async () => [await replica.get(NOTE), port(await replica.info("server"))]);
