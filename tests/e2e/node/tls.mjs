// ioredis over TLS.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { Redis } from "ioredis";
import { blocked, event, eventually, main, run } from "./runs.mjs";

const PORT = Number(process.env.TLS_PORT);
const paper = (name) => readFileSync(`${process.env.TLS_PAPERS}/${name}`);

const clients = [];

function connect(shown = "client", tls = {}, more = {}) {
  const own = shown ? { cert: paper(`${shown}.crt`), key: paper(`${shown}.key`) } : {};
  const redis = new Redis({
    host: "localhost",
    port: PORT,
    family: 4,
    retryStrategy: null,
    maxRetriesPerRequest: 0,
    tls: { ca: paper("ca.crt"), ...own, ...tls },
    ...more,
  });
  redis.on("error", () => {});
  clients.push(redis);
  return redis;
}

/** A run whose clients are closed after it. */
function add(f) {
  const wrapped = {
    [f.name]: async () => {
      try {
        await f();
      } finally {
        clients.splice(0).forEach((c) => c.disconnect());
      }
    },
  };
  run(wrapped[f.name]);
}

add(async function commandsAndPipelines() {
  const redis = connect();
  assert.equal(await redis.set("k", "v".repeat(100_000)), "OK");
  assert.equal((await redis.get("k")).length, 100_000);
  const pipeline = redis.pipeline();
  for (let i = 0; i < 2000; i++) pipeline.incr("n");
  assert.deepEqual((await pipeline.exec()).at(-1), [null, 2000]);
});

add(async function messagesAndWaiting() {
  const [hears, waits, acts] = [connect(), connect(), connect()];
  await hears.subscribe("news");
  const heard = event(hears, "message");
  await acts.publish("news", "hello");
  assert.deepEqual(await heard, ["news", "hello"]);
  const got = waits.blpop("list", 30);
  await eventually(async () => (await blocked(acts)) === 1);
  await acts.rpush("list", "a");
  assert.deepEqual(await got, ["list", "a"]);
});

add(async function aUserAndAClientByName() {
  const admin = connect();
  await admin.acl("SETUSER", "alice", "reset", "on", ">secret", "~a:*", "+@all");
  const more = { username: "alice", password: "secret", connectionName: "hers" };
  const alice = connect("client", {}, more);
  assert.equal(await alice.acl("WHOAMI"), "alice");
  assert.equal(await alice.set("a:1", "v"), "OK");
  await assert.rejects(alice.get("b"), /^ReplyError: NOPERM/);
  assert.equal(await alice.client("GETNAME"), "hers");
  const told = event(connect("client", {}, { ...more, password: "wrong" }), "error");
  assert.match(String((await told)[0]), /WRONGPASS/);
  // Who is killed is told the end of TLS, too.
  const ended = event(alice, "close");
  assert.equal(await admin.client("KILL", "USER", "alice"), 1);
  await ended;
  assert.equal(await admin.acl("DELUSER", "alice"), 1);
});

add(async function anotherConnectionHearsOfChangedKeys() {
  // Over RESP3 each would hear of its own keys.
  const [listener, reader, writer] = [1, 2, 3].map(() => connect("client", {}, { protocol: 2 }));
  const number = await listener.client("ID");
  await listener.subscribe("__redis__:invalidate");
  assert.equal(await reader.client("TRACKING", "ON", "REDIRECT", number), "OK");
  assert.equal(await reader.get("k"), null);
  const heard = event(listener, "message");
  await writer.set("k", "v");
  assert.deepEqual((await heard).flat(), ["__redis__:invalidate", "k"]);
});

add(async function versions() {
  for (const version of ["TLSv1.2", "TLSv1.3"]) {
    const redis = connect("client", { minVersion: version, maxVersion: version });
    assert.equal(await redis.ping(), "PONG");
    assert.equal(redis.stream.getProtocol(), version);
  }
});

add(async function whoIsNotBelieved() {
  for (const [shown, tls] of [[null], ["stranger"], ["client", { ca: paper("other.crt") }]]) {
    await assert.rejects(connect(shown, tls).ping());
  }
});

await main();
