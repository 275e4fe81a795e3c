// ioredis: the version that IOREDIS names, over the protocol that RESP names where it can choose.

import assert from "node:assert/strict";
import { FOLDER, PORT, URL, blocked, event, eventually, main, run, sleep } from "./runs.mjs";

const { Redis } = await import(process.env.IOREDIS ?? "ioredis");
const RESP = Number(process.env.RESP ?? 2);

const clients = [];

function connect(options = {}) {
  const redis = new Redis({ port: PORT, host: "127.0.0.1", ...(RESP === 3 ? { protocol: 3 } : { protocol: 2 }), ...options });
  clients.push(redis);
  return redis;
}

/** A run that gets a client; those it made besides are closed after it. */
function withRedis(f, needs) {
  const wrapped = {
    [f.name]: async () => {
      try {
        await f(connect());
      } finally {
        clients.splice(0).forEach((c) => c.disconnect());
      }
    },
  };
  run(wrapped[f.name], needs);
}

/** Pairs of a reply: an array over RESP2, an object or a map over RESP3. */
const pairs = (reply) =>
  Array.isArray(reply) ? reply : reply instanceof Map ? [...reply].flat() : Object.entries(reply).flat();

withRedis(async function commandsOfEachType(redis) {
  assert.equal(await redis.set("s", "v", "EX", 100, "NX"), "OK");
  assert.equal(await redis.set("s", "w", "NX"), null);
  assert.equal(await redis.get("s"), "v");
  assert.deepEqual(await redis.getBuffer("s"), Buffer.from("v"));
  assert.equal(await redis.incrby("n", 41), 41);
  assert.equal(await redis.hset("h", { a: 1, b: "two" }), 2);
  assert.deepEqual(await redis.hgetall("h"), { a: "1", b: "two" });
  assert.deepEqual(await redis.hmget("h", "a", "x"), ["1", null]);
  assert.equal(await redis.rpush("l", 1, 2, 3), 3);
  assert.deepEqual(await redis.lrange("l", 0, -1), ["1", "2", "3"]);
  assert.equal(await redis.sadd("t", "a", "b"), 2);
  assert.deepEqual(new Set(await redis.smembers("t")), new Set(["a", "b"]));
  assert.equal(await redis.zadd("z", 1.5, "a", 2, "b"), 2);
  assert.equal(Number(await redis.zscore("z", "a")), 1.5);
  assert.deepEqual((await redis.zrange("z", 0, -1, "WITHSCORES")).flat().map(String), ["a", "1.5", "b", "2"]);
  assert.deepEqual(await redis.mset({ x: 1, y: 2 }), "OK");
  assert.deepEqual(await redis.mget("x", "none", "y"), ["1", null, "2"]);
  const bytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
  await redis.set("bytes", bytes);
  assert.deepEqual(await redis.getBuffer("bytes"), bytes);
  await assert.rejects(redis.lpush("s", 1), /WRONGTYPE/);
  await assert.rejects(redis.call("NOSUCH", "a"), /unknown command/);
});

withRedis(async function ownCommands(redis) {
  redis.defineCommand("addTwice", {
    numberOfKeys: 1,
    lua: "redis.call('INCRBY', KEYS[1], ARGV[1]); return redis.call('INCRBY', KEYS[1], ARGV[1])",
  });
  assert.equal(await redis.addTwice("n", 2), 4);
  await redis.script("FLUSH");
  assert.equal(await redis.addTwice("n", 3), 10, "sent again in whole when the server does not know it");
  await redis.script("FLUSH");
  const results = await redis.pipeline().set("a", 1).addTwice("n", 1).get("a").exec();
  assert.deepEqual(results, [[null, "OK"], [null, 12], [null, "1"]]);
  assert.deepEqual(await redis.multi().addTwice("n", 1).get("n").exec(), [[null, 14], [null, "14"]]);
  redis.defineCommand("broken", { numberOfKeys: 0, lua: "return redis.error_reply('MINE own')" });
  await assert.rejects(redis.broken(), /MINE own/);
});

withRedis(async function pipelinesAndTransactions(redis) {
  const pipeline = redis.pipeline();
  for (let i = 0; i < 5000; i++) pipeline.incr("n");
  assert.deepEqual((await pipeline.exec()).map(([, n]) => n), Array.from({ length: 5000 }, (_, i) => i + 1));
  const mixed = await redis.pipeline().set("a", "x").incr("a").get("a").exec();
  assert.match(mixed[1][0].message, /not an integer/);
  assert.equal(mixed[2][1], "x");
  assert.deepEqual(await redis.multi().set("b", 1).incr("b").exec(), [[null, "OK"], [null, 2]]);
  await assert.rejects(redis.multi().set("c", 1).call("NOSUCH").exec(), /EXECABORT/);
  assert.equal(await redis.exists("c"), 0);
  await redis.multi({ pipeline: false });
  assert.equal(await redis.set("d", 1), "QUEUED");
  assert.deepEqual(await redis.exec(), [[null, "OK"]]);
  await redis.watch("w");
  await connect().set("w", 1);
  assert.equal(await redis.multi().set("w", 2).exec(), null, "another changed what was watched");
  assert.equal(await redis.get("w"), "1");
});

withRedis(async function pipelinesThatMakeThemselves() {
  const redis = connect({ enableAutoPipelining: true });
  await redis.ping();
  const results = await Promise.all(Array.from({ length: 500 }, (_, i) => redis.set(`k${i}`, i)));
  assert(results.every((r) => r === "OK"));
  const values = await Promise.all(Array.from({ length: 500 }, (_, i) => redis.get(`k${i}`)));
  assert.deepEqual(values, Array.from({ length: 500 }, (_, i) => String(i)));
  const [good, bad] = await Promise.allSettled([redis.get("k1"), redis.lpush("k1", 1)]);
  assert.equal(good.value, "1");
  assert.match(bad.reason.message, /WRONGTYPE/);
});

withRedis(async function keysWithAPrefix(redis) {
  const app = connect({ keyPrefix: "app:" });
  await app.set("a", 1);
  await app.mset("b", 2, "c", 3);
  assert.equal(await redis.get("app:a"), "1");
  app.defineCommand("first", { numberOfKeys: 1, lua: "return redis.call('GET', KEYS[1])" });
  assert.equal(await app.first("c"), "3");
  assert.deepEqual(await app.sort("none", "BY", "w_*"), []);
  assert.equal(await app.del("a", "b"), 2);
  assert.equal(await redis.dbsize(), 1);
});

withRedis(async function channels(redis) {
  const sub = connect();
  const got = [];
  sub.on("message", (channel, text) => got.push([channel, text]));
  sub.on("pmessage", (pattern, channel, text) => got.push([pattern, channel, text]));
  assert.equal(await sub.subscribe("a", "b"), 2);
  assert.equal(await sub.psubscribe("a*"), 3);
  assert.equal(await redis.publish("a", "one"), 2);
  assert.equal(await redis.publish("b", "two"), 1);
  await eventually(() => got.length === 3);
  assert.deepEqual(got, [["a", "one"], ["a*", "a", "one"], ["b", "two"]]);
  if (RESP === 2) await assert.rejects(sub.get("a"), /subscriber mode|allowed in this context/);
  else assert.equal(await sub.get("a"), null);
  assert.deepEqual(await sub.ping("still"), RESP === 2 ? ["pong", "still"] : "still");
  got.length = 0;
  const many = redis.pipeline();
  for (let i = 0; i < 2000; i++) many.publish("b", String(i));
  await many.exec();
  await eventually(() => got.length === 2000);
  assert.deepEqual(got.map(([, text]) => Number(text)), Array.from({ length: 2000 }, (_, i) => i));
  await sub.unsubscribe("a", "b");
  assert.equal(await sub.punsubscribe("a*"), 0);
  assert.equal(await sub.set("a", "normal again"), "OK");
  const bytes = connect();
  const message = event(bytes, "messageBuffer");
  await bytes.subscribe("raw");
  await redis.publish("raw", Buffer.from([0, 255]));
  assert.deepEqual((await message)[1], Buffer.from([0, 255]));
});

withRedis(async function shardedChannels(redis) {
  const sub = connect();
  const message = event(sub, "smessage");
  assert.equal(await sub.ssubscribe("orders"), 1);
  assert.equal(await redis.spublish("orders", "one"), 1);
  assert.deepEqual(await message, ["orders", "one"]);
  assert.equal(await sub.sunsubscribe("orders"), 0);
}, "SSUBSCRIBE");

withRedis(async function streams(redis) {
  await redis.xgroup("CREATE", "s", "g", "$", "MKSTREAM");
  const reader = connect();
  const waiting = reader.xreadgroup("GROUP", "g", "one", "COUNT", 10, "BLOCK", 20_000, "STREAMS", "s", ">");
  await eventually(async () => (await blocked(redis)) === 1);
  const id = await redis.xadd("s", "*", "k", "v");
  assert.deepEqual(pairs(await waiting).flat(9), ["s", id, "k", "v"]);
  assert.equal((await redis.xpending("s", "g"))[0], 1);
  const claimed = await redis.xautoclaim("s", "g", "two", 0, "0");
  assert.equal(claimed[1][0][0], id);
  assert.equal(await redis.xack("s", "g", id), 1);
  assert.equal(await reader.xread("BLOCK", 50, "STREAMS", "s", "$"), null);
  const info = pairs(await redis.xinfo("STREAM", "s"));
  assert.equal(info[info.indexOf("length") + 1], 1);
});

withRedis(async function blockingPops(redis) {
  const [a, b] = [connect(), connect()];
  const first = a.blpop("l", 20);
  await eventually(async () => (await blocked(redis)) === 1);
  const second = b.blpop("l", 20);
  await eventually(async () => (await blocked(redis)) === 2);
  await redis.rpush("l", "x", "y");
  assert.deepEqual(await Promise.all([first, second]), [["l", "x"], ["l", "y"]]);
  assert.equal(await redis.blmove("none", "l", "LEFT", "RIGHT", 0.05), null);
  const given = a.bzpopmin("z", 20);
  await eventually(async () => (await blocked(redis)) === 1);
  await redis.zadd("z", 2, "m");
  assert.deepEqual((await given).map(String), ["z", "m", "2"]);
});

withRedis(async function aKilledConnectionIsMadeAgain(redis) {
  const victim = connect({ connectionName: "victim", retryStrategy: () => 10 });
  await victim.set("a", 1);
  const id = await victim.client("ID");
  const closed = event(victim, "close");
  const ready = closed.then(() => event(victim, "ready"));
  assert.equal(await redis.client("KILL", "ID", id), 1);
  await closed;
  const queued = victim.get("a");
  await ready;
  assert.equal(await queued, "1", "what was called in between is sent later");
  assert.notEqual(await victim.client("ID"), id);
  assert.equal(await victim.client("GETNAME"), "victim");
});

withRedis(async function aSubscriberSubscribesAgain(redis) {
  const sub = connect({ retryStrategy: () => 10 });
  const got = [];
  sub.on("message", (_, text) => got.push(text));
  await sub.subscribe("c");
  await sub.psubscribe("p*");
  sub.on("pmessage", (pattern, _, text) => got.push(text));
  assert.equal(await redis.client("KILL", "TYPE", "pubsub"), 1);
  await eventually(async () => (await redis.publish("c", "still")) === 1 && (await redis.publish("pc", "too")) === 1);
  await eventually(() => got.includes("still") && got.includes("too"));
});

withRedis(async function databasesAreKeptOverReconnection(redis) {
  const two = connect({ db: 2, retryStrategy: () => 10 });
  await two.set("a", "in two");
  const ready = event(two, "close").then(() => event(two, "ready"));
  await redis.client("KILL", "ID", await two.client("ID"));
  await ready;
  assert.equal(await two.get("a"), "in two");
  assert.equal(await redis.get("a"), null);
});

withRedis(async function whatOthersCallIsSeenByMonitor(redis) {
  // Nothing else may be under way: a line in one packet with the reply to MONITOR confuses version 5.
  await redis.ping();
  const monitor = await redis.monitor();
  const got = [];
  monitor.on("monitor", (time, args, source, database) => got.push([args.join(" "), source, database]));
  await redis.set("a", 'two "words"');
  await redis.eval("return redis.call('GET', KEYS[1])", 1, "a");
  await eventually(() => got.length === 3);
  assert.equal(got[0][0], 'set a two "words"');
  assert.match(got[0][1], /^127\.0\.0\.1:\d+$/);
  assert.equal(got[0][2], "0");
  assert.match(got[1][0], /^eval /);
  assert.deepEqual(got[2].slice(0, 2), ["GET a", "lua"]);
  monitor.disconnect();
});

withRedis(async function scans(redis) {
  const pipeline = redis.pipeline();
  for (let i = 0; i < 2000; i++) pipeline.set(`k:${i}`, i).hset("h", `f${i}`, i);
  await pipeline.exec();
  const seen = new Set();
  for await (const keys of redis.scanStream({ match: "k:*", count: 100 })) keys.forEach((k) => seen.add(k));
  assert.equal(seen.size, 2000);
  const fields = new Map();
  for await (const batch of redis.hscanStream("h")) {
    for (let i = 0; i < batch.length; i += 2) fields.set(batch[i], batch[i + 1]);
  }
  assert.equal(fields.size, 2000);
  assert.equal(fields.get("f7"), "7");
});

withRedis(async function functions(redis) {
  const code = "#!lua name=l\nredis.register_function('add', function(k, a) return redis.call('INCRBY', k[1], a[1]) end)";
  assert.equal(await redis.function("LOAD", code), "l");
  assert.equal(await redis.fcall("add", 1, "n", 4), 4);
  assert.equal(await redis.function("DELETE", "l"), "OK");
  await assert.rejects(redis.fcall("add", 1, "n", 4), /Function not found/);
}, "FCALL");

withRedis(async function aUnixSocketAndAnAddress(redis) {
  await redis.set("a", "here");
  assert.equal(await connect({ path: `${FOLDER}/socket`, port: undefined, host: undefined }).get("a"), "here");
  const named = new Redis(`${URL}/3?connectionName=named`);
  clients.push(named);
  assert.match(await named.client("INFO"), /name=named .*db=3 /);
});

withRedis(async function aPassword(redis) {
  await redis.config("SET", "requirepass", "secret");
  try {
    assert.equal(await connect({ password: "secret" }).ping(), "PONG");
    assert.equal(await connect({ username: "default", password: "secret" }).ping(), "PONG");
    const wrong = connect({ password: "wrong", retryStrategy: null, maxRetriesPerRequest: 0 });
    wrong.on("error", () => {});
    await assert.rejects(wrong.ping());
  } finally {
    await redis.config("SET", "requirepass", "");
  }
});

withRedis(async function keyspaceNotifications(redis) {
  await redis.config("SET", "notify-keyspace-events", "KEA");
  const sub = connect();
  const got = [];
  sub.on("pmessage", (_, channel, text) => got.push(`${channel} ${text}`));
  await sub.psubscribe("__key*__:*");
  await redis.set("a", 1, "PX", 30);
  await eventually(() => got.length === 6);
  assert.deepEqual(got, [
    "__keyspace@0__:a set",
    "__keyevent@0__:set a",
    "__keyspace@0__:a expire",
    "__keyevent@0__:expire a",
    "__keyspace@0__:a expired",
    "__keyevent@0__:expired a",
  ]);
  await redis.config("SET", "notify-keyspace-events", "");
});

withRedis(async function aTransactionOfManyClients(redis) {
  const increments = Array.from({ length: 4 }, async () => {
    const mine = connect();
    for (let i = 0; i < 25; ) {
      await mine.watch("n");
      const n = Number(await mine.get("n"));
      if (await mine.multi().set("n", n + 1).exec()) i += 1;
    }
  });
  await Promise.all(increments);
  assert.equal(await redis.get("n"), "100");
});

withRedis(async function closingInAnOrderlyWay() {
  const redis = connect();
  const answers = [redis.set("a", 1), redis.get("a")];
  const end = event(redis, "end");
  assert.equal(await redis.quit(), "OK");
  assert.deepEqual(await Promise.all(answers), ["OK", "1"]);
  await end;
  await assert.rejects(redis.get("a"), /Connection is closed/);
  await sleep(0);
});

await main();
