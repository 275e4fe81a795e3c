// node-redis: the version that NODE_REDIS names, over the protocol that RESP names.

import assert from "node:assert/strict";
import { FOLDER, PORT, URL, event, eventually, main, run } from "./runs.mjs";

const { createClient, createClientPool, defineScript } = await import(process.env.NODE_REDIS ?? "redis");
const RESP = Number(process.env.RESP ?? 2);

const clients = [];

async function connect(options = {}) {
  const client = createClient({ url: URL, RESP, ...options });
  client.on("error", () => {});
  clients.push(client);
  return client.connect();
}

/** A run that gets a client; those it made besides are closed after it. */
function withClient(f, needs) {
  const wrapped = {
    [f.name]: async () => {
      try {
        await f(await connect());
      } finally {
        clients.splice(0).forEach((c) => c.isOpen && c.destroy());
      }
    },
  };
  run(wrapped[f.name], needs);
}

const blocked = async (client) => Number(/blocked_clients:(\d+)/.exec(await client.info("clients"))[1]);
const plain = (reply) => (reply instanceof Map ? Object.fromEntries(reply) : { ...reply });

const ADD = defineScript({
  SCRIPT: "return redis.call('INCRBY', KEYS[1], ARGV[1])",
  NUMBER_OF_KEYS: 1,
  parseCommand(parser, key, n) {
    parser.pushKey(key);
    parser.push(String(n));
  },
  transformReply: (reply) => reply,
});

withClient(async function commandsOfEachType(client) {
  assert.equal(await client.set("s", "v", { EX: 100, NX: true }), "OK");
  assert.equal(await client.set("s", "w", { NX: true }), null);
  assert.equal(await client.get("s"), "v");
  assert.equal(await client.incrBy("n", 41), 41);
  assert.equal(await client.hSet("h", { a: "1", b: "two" }), 2);
  assert.deepEqual(plain(await client.hGetAll("h")), { a: "1", b: "two" });
  assert.equal(await client.rPush("l", ["1", "2", "3"]), 3);
  assert.deepEqual(await client.lRange("l", 0, -1), ["1", "2", "3"]);
  assert.equal(await client.sAdd("t", ["a", "b"]), 2);
  assert.deepEqual(new Set(await client.sMembers("t")), new Set(["a", "b"]));
  assert.equal(await client.zAdd("z", [{ score: 1.5, value: "a" }, { score: Infinity, value: "b" }]), 2);
  assert.deepEqual((await client.zRangeWithScores("z", 0, -1)).map((m) => ({ ...m })), [
    { value: "a", score: 1.5 },
    { value: "b", score: Infinity },
  ]);
  assert.equal(await client.zScore("z", "a"), 1.5);
  assert.deepEqual(await client.mGet(["s", "none"]), ["v", null]);
  assert.equal(await client.geoAdd("g", { longitude: 13.361389, latitude: 38.115556, member: "Palermo" }), 1);
  assert.equal(await client.exists(["s", "none"]), 1);
  await assert.rejects(client.lPush("s", "1"), /WRONGTYPE/);
  await assert.rejects(client.sendCommand(["NOSUCH"]), /unknown command/);
  const info = await client.clientInfo();
  assert.equal(info.id, await client.clientId());
});

withClient(async function manyCommandsAtOnce(client) {
  const replies = await Promise.all(Array.from({ length: 10_000 }, () => client.incr("n")));
  assert.deepEqual(replies, Array.from({ length: 10_000 }, (_, i) => i + 1));
});

withClient(async function transactions(client) {
  assert.deepEqual(await client.multi().set("a", "1").incr("a").get("a").exec(), ["OK", 2, "2"]);
  await assert.rejects(client.multi().set("a", "x").incr("a").exec(), (error) => {
    assert.match(error.replies[1].message, /not an integer/);
    return true;
  });
  assert.equal(await client.get("a"), "x");
  await client.watch("w");
  await (await connect()).set("w", "another's");
  await assert.rejects(client.multi().set("w", "mine").exec(), /watched keys has been changed/);
  assert.equal(await client.get("w"), "another's");
  assert.deepEqual(await client.multi().set("p", "1").get("p").execAsPipeline(), ["OK", "1"]);
});

withClient(async function connectionsOfAPool(client) {
  const pool = await createClientPool({ url: URL, RESP }, { maximum: 4 }).connect();
  try {
    await Promise.all(Array.from({ length: 100 }, () => pool.incr("n")));
    assert.equal(await client.get("n"), "100");
    const add = () =>
      pool.execute(async (mine) => {
        for (;;) {
          await mine.watch("m");
          const m = Number(await mine.get("m"));
          try {
            return await mine.multi().set("m", String(m + 1)).exec();
          } catch (error) {
            if (!/watched/.test(error.message)) throw error;
          }
        }
      });
    await Promise.all(Array.from({ length: 40 }, add));
    assert.equal(await client.get("m"), "40");
    const popped = pool.blPop("l", 20);
    await eventually(async () => (await blocked(client)) === 1);
    await client.rPush("l", "x");
    assert.deepEqual({ ...(await popped) }, { key: "l", element: "x" });
  } finally {
    await pool.close();
  }
});

withClient(async function scripts() {
  const client = await connect({ scripts: { add: ADD } });
  assert.equal(await client.add("n", 2), 2);
  await client.scriptFlush();
  assert.equal(await client.add("n", 3), 5, "sent again in whole when the server does not know it");
  assert.deepEqual(await client.multi().add("n", 1).get("n").exec(), [6, "6"]);
  assert.deepEqual(await client.eval("return {KEYS[1], ARGV[1], 3}", { keys: ["k"], arguments: ["a"] }), ["k", "a", 3]);
  await assert.rejects(client.evalSha("f".repeat(40)), /NOSCRIPT/);
});

withClient(async function functions() {
  const client = await connect({
    functions: {
      counters: {
        add: { ...ADD, SCRIPT: undefined, IS_READ_ONLY: false },
        peek: { NUMBER_OF_KEYS: 1, IS_READ_ONLY: true, parseCommand: (p, key) => p.pushKey(key), transformReply: (r) => r },
      },
    },
  });
  const code = `#!lua name=counters
    redis.register_function('add', function(k, a) return redis.call('INCRBY', k[1], a[1]) end)
    redis.register_function{function_name='peek', callback=function(k) return redis.call('GET', k[1]) end, flags={'no-writes'}}`;
  assert.equal(await client.functionLoad(code), "counters");
  await assert.rejects(client.functionLoad(code), /already exists/);
  assert.equal(await client.functionLoad(code, { REPLACE: true }), "counters");
  assert.equal(await client.counters.add("n", 7), 7);
  assert.equal(await client.counters.peek("n"), "7");
  const [library] = await client.functionListWithCode();
  assert.equal(library.library_name, "counters");
  assert.equal(library.library_code, code);
  assert.equal(library.functions.length, 2);
  await client.functionDelete("counters");
  await assert.rejects(client.counters.add("n", 1), /Function not found/);
}, "FCALL");

withClient(async function channels(client) {
  const sub = await connect();
  const got = [];
  const hear = (text, channel) => got.push([channel, text]);
  await sub.subscribe(["a", "b"], hear);
  await sub.pSubscribe("a*", hear);
  assert.equal(await client.publish("a", "one"), 2);
  assert.equal(await client.publish("b", "two"), 1);
  await eventually(() => got.length === 3);
  assert.deepEqual(got, [["a", "one"], ["a", "one"], ["b", "two"]]);
  if (RESP === 3) assert.equal(await sub.get("a"), null, "over RESP3 a subscriber may call everything");
  assert.deepEqual((await client.pubSubChannels()).sort(), ["a", "b"]);
  assert.deepEqual(plain(await client.pubSubNumSub(["a", "none"])), { a: 1, none: 0 });
  got.length = 0;
  await Promise.all(Array.from({ length: 2000 }, (_, i) => client.publish("b", String(i))));
  await eventually(() => got.length === 2000);
  assert.deepEqual(got.map(([, text]) => Number(text)), Array.from({ length: 2000 }, (_, i) => i));
  await sub.unsubscribe(["a", "b"]);
  await sub.pUnsubscribe("a*");
  assert.equal(await client.publish("a", "nobody"), 0);
  assert.equal(String(await sub.set("a", "normal again")), "OK");
  await sub.subscribe("raw", (bytes) => got.push(bytes), true);
  await client.publish("raw", Buffer.from([0, 255]));
  await eventually(() => got.length === 2001);
  assert.deepEqual(got[2000], Buffer.from([0, 255]));
});

withClient(async function shardedChannels(client) {
  const sub = await connect();
  const got = [];
  await sub.sSubscribe("orders", (text) => got.push(text));
  assert.equal(await client.sPublish("orders", "one"), 1);
  await eventually(() => got.length === 1);
  await sub.sUnsubscribe("orders");
  assert.equal(await client.sPublish("orders", "two"), 0);
  assert.deepEqual(got, ["one"]);
}, "SSUBSCRIBE");

withClient(async function streams(client) {
  await client.xGroupCreate("s", "g", "$", { MKSTREAM: true });
  const reader = await connect();
  const waiting = reader.xReadGroup("g", "one", { key: "s", id: ">" }, { COUNT: 10, BLOCK: 20_000 });
  await eventually(async () => (await blocked(client)) === 1);
  const id = await client.xAdd("s", "*", { k: "v" });
  const read = await waiting;
  if (Array.isArray(read)) {
    assert.equal(read[0].name, "s");
    assert.deepEqual(read[0].messages.map((m) => [m.id, plain(m.message)]), [[id, { k: "v" }]]);
  } else {
    assert.deepEqual(plain(read), { s: [[id, ["k", "v"]]] }, "version 5 passes on what RESP3 says");
  }
  assert.equal((await client.xPending("s", "g")).pending, 1);
  const claimed = await client.xAutoClaim("s", "g", "two", 0, "0-0");
  assert.equal(claimed.messages[0].id, id);
  assert.equal(await client.xAck("s", "g", id), 1);
  assert.equal((await client.xInfoStream("s")).length, 1);
  assert.equal((await client.xInfoGroups("s"))[0].consumers, 2);
  assert.equal((await client.xRange("s", "-", "+")).length, 1);
});

withClient(async function iterators(client) {
  const many = client.multi();
  for (let i = 0; i < 2000; i++) {
    many.set(`k:${i}`, String(i)).hSet("h", `f${i}`, String(i)).zAdd("z", { score: i, value: `m${i}` });
  }
  await many.execAsPipeline();
  const keys = new Set();
  for await (const batch of client.scanIterator({ MATCH: "k:*", COUNT: 100 })) batch.forEach((k) => keys.add(k));
  assert.equal(keys.size, 2000);
  const fields = new Map();
  for await (const batch of client.hScanIterator("h")) batch.forEach(({ field, value }) => fields.set(field, value));
  assert.equal(fields.size, 2000);
  assert.equal(fields.get("f7"), "7");
  let sum = 0;
  for await (const batch of client.zScanIterator("z")) batch.forEach(({ score }) => (sum += score));
  assert.equal(sum, 1999000);
});

withClient(async function aCacheInTheClient(client) {
  const options = {
    url: URL,
    RESP,
    clientSideCache: { ttl: 0, maxEntries: 100, evictPolicy: "LRU" },
    socket: { reconnectStrategy: false },
  };
  if (RESP === 2) {
    await assert.rejects(async () => createClient(options).connect(), /RESP3|RESP: 3|only supported/);
    return;
  }
  const cached = await connect(options);
  const calls = async () => Number(/cmdstat_get:calls=(\d+)/.exec(await client.info("commandstats"))?.[1] ?? 0);
  await client.set("a", "1");
  const before = await calls();
  for (let i = 0; i < 5; i++) assert.equal(await cached.get("a"), "1");
  assert.equal(await calls(), before + 1, "the server is asked once");
  await client.set("a", "changed");
  await eventually(async () => (await cached.get("a")) === "changed");
  await client.del("a");
  await eventually(async () => (await cached.get("a")) === null);
  await client.hSet("h", "f", "v");
  assert.equal(await cached.hGet("h", "f"), "v");
  await client.flushAll();
  await eventually(async () => (await cached.hGet("h", "f")) === null);
});

withClient(async function aKilledConnectionIsMadeAgain(client) {
  const victim = await connect({ name: "victim", database: 2, socket: { reconnectStrategy: () => 10 } });
  await victim.set("a", "1");
  const id = await victim.clientId();
  const ready = event(victim, "ready");
  assert.equal(await client.clientKill({ filter: "ID", id }), 1);
  await ready;
  assert.equal(await victim.get("a"), "1");
  assert.notEqual(await victim.clientId(), id);
  assert.equal(await victim.clientGetName(), "victim");
  const sub = await connect({ socket: { reconnectStrategy: () => 10 } });
  const got = [];
  await sub.subscribe("c", (text) => got.push(text));
  assert.equal(await client.clientKill({ filter: "TYPE", type: "pubsub" }), 1);
  await eventually(async () => (await client.publish("c", "still")) === 1);
  await eventually(() => got.includes("still"));
});

withClient(async function whatOthersCallIsSeenByMonitor(client) {
  const monitor = await connect();
  const got = [];
  await monitor.monitor((line) => got.push(line.toString()));
  await client.set("a", "b");
  await eventually(() => got.length > 0);
  assert.match(got[0], /^\d+\.\d{6} \[0 127\.0\.0\.1:\d+\] "SET" "a" "b"$/);
});

withClient(async function aUnixSocketAndAPassword(client) {
  const unix = createClient({ RESP, socket: { path: `${FOLDER}/socket` } });
  clients.push(await unix.connect());
  await unix.set("a", "here");
  assert.equal(await client.get("a"), "here");
  await client.configSet("requirepass", "secret");
  try {
    assert.equal(await (await connect({ url: `redis://:secret@127.0.0.1:${PORT}` })).get("a"), "here");
    await assert.rejects(connect({ password: "wrong", socket: { reconnectStrategy: false } }), /WRONGPASS/);
  } finally {
    await client.configSet("requirepass", "");
  }
});

withClient(async function whatTheServerTells(client) {
  assert.equal((await client.configGet("maxmemory")).maxmemory, "0");
  const get = (await client.commandInfo(["get"]))[0];
  assert.equal(get.name, "get");
  assert.equal(get.arity, 2);
  assert((await client.clientList()).length >= 1);
  assert((await client.commandCount()) > 200);
  assert.equal(typeof (await client.memoryUsage("none")), "object");
  assert.equal((await client.hello(RESP)).proto, RESP);
});

await main();
