// Users and what they may do, and what one client sees and does of others: by ioredis and by node-redis, of the versions
// that IOREDIS and NODE_REDIS name, over the protocol that RESP names where they can choose.

import assert from "node:assert/strict";
import { PORT, event, eventually, main, run } from "./runs.mjs";

const { Redis } = await import(process.env.IOREDIS ?? "ioredis");
const { createClient } = await import(process.env.NODE_REDIS ?? "redis");
const RESP = Number(process.env.RESP ?? 2);

const opened = [];

/** An ioredis client. */
function io(options = {}) {
  const redis = new Redis({ port: PORT, host: "127.0.0.1", protocol: RESP, ...options });
  redis.on("error", () => {});
  opened.push(() => redis.disconnect());
  return redis;
}

/** A node-redis client. */
async function node(options = {}) {
  const { address = `redis://127.0.0.1:${PORT}`, ...rest } = options;
  const client = createClient({ url: address, RESP, socket: { reconnectStrategy: false }, ...rest });
  client.on("error", () => {});
  opened.push(() => client.isOpen && client.destroy());
  await client.connect();
  return client;
}

/** A run that gets a client who may do everything; what it opened is closed after it, and its users are deleted. */
function withAdmin(f, needs) {
  const wrapped = {
    [f.name]: async () => {
      const admin = io();
      try {
        await f(admin);
      } finally {
        await admin.acl("DELUSER", "alice", "bob");
        opened.splice(0).forEach((close) => close());
      }
    },
  };
  run(wrapped[f.name], needs);
}

/** What CLIENT LIST tells of each client. */
const described = (text) =>
  text
    .trim()
    .split("\n")
    .map((line) => Object.fromEntries(line.split(" ").map((pair) => pair.split(/=(.*)/s, 2))));

/** A reply of names and values: an array over RESP2, an object or a map over RESP3. */
const object = (reply) => {
  if (reply instanceof Map) return Object.fromEntries(reply);
  if (!Array.isArray(reply)) return reply;
  return Object.fromEntries(Array.from({ length: reply.length / 2 }, (_, i) => [reply[2 * i], reply[2 * i + 1]]));
};

const refused = (what) => ({ message: new RegExp(`^NOPERM.*${what}`) });
const WRONG = /WRONGPASS/;

withAdmin(async function ioredisAsAUser(admin) {
  assert.equal(await admin.acl("SETUSER", "alice", "on", ">secret", "~a:*", "resetchannels", "&news", "+@all", "-@dangerous", "+info"), "OK");
  const alice = io({ username: "alice", password: "secret" });
  assert.equal(await alice.set("a:1", "v"), "OK");
  await assert.rejects(alice.get("b"), refused("key"));
  await assert.rejects(alice.flushall(), refused("'flushall'"));
  await assert.rejects(alice.publish("other", "x"), refused("channel"));
  await assert.rejects(alice.subscribe("other"), refused("channel"));
  const piped = await alice.pipeline().set("a:2", "v").set("b", "v").get("a:2").exec();
  assert.equal(piped[0][1], "OK");
  assert.match(piped[1][0].message, /^NOPERM/);
  assert.equal(piped[2][1], "v");
  await assert.rejects(alice.multi().set("a:3", "v").set("b", "v").exec(), /NOPERM|EXECABORT/);
  assert.equal(await admin.exists("a:3", "b"), 0);
  await assert.rejects(alice.eval("return redis.call('GET', 'b')", 0), /ACL failure|can't access/);
  assert.equal(await alice.eval("return redis.call('GET', KEYS[1])", 1, "a:1"), "v");
});

withAdmin(async function ioredisWithAnAddress(admin) {
  await admin.acl("SETUSER", "alice", "on", ">secret", "~*", "+@all");
  const redis = new Redis(`redis://alice:secret@127.0.0.1:${PORT}/3`, { protocol: RESP });
  opened.push(() => redis.disconnect());
  assert.equal(await redis.acl("WHOAMI"), "alice");
  assert.equal(described(await redis.client("LIST")).find((c) => c.user === "alice").db, "3");
  // A wrong password is told as an event, and what is called meanwhile fails.
  const wrong = new Redis(`redis://alice:wrong@127.0.0.1:${PORT}`, { protocol: RESP, retryStrategy: null, lazyConnect: true });
  opened.push(() => wrong.disconnect());
  const told = event(wrong, "error");
  wrong.connect().catch(() => {});
  assert.match(String((await told)[0]), WRONG);
});

withAdmin(async function usersAreShown(admin) {
  await admin.acl("SETUSER", "alice", "on", ">secret", "~a:*", "%R~b:*", "&c", "+@read", "-get", "(+set ~d)");
  const alice = object(await admin.acl("GETUSER", "alice"));
  assert.ok([...alice.flags].includes("on") && alice.passwords.length === 1);
  assert.equal(alice.keys, "~a:* %R~b:*");
  assert.equal(alice.channels, "&c");
  assert.match(alice.commands, /^-@all \+@read -get/);
  assert.equal(object(alice.selectors[0]).keys, "~d");
  assert.equal(await admin.acl("GETUSER", "nobody"), null);
  assert.deepEqual(await admin.acl("USERS"), ["alice", "default"]);
  assert.equal((await admin.acl("LIST")).length, 2);
  assert.ok((await admin.acl("CAT")).includes("dangerous") && (await admin.acl("CAT", "read")).includes("get"));
  assert.equal((await admin.acl("GENPASS")).length, 64);
  assert.equal(await admin.acl("DRYRUN", "alice", "MGET", "a:1"), "OK");
  assert.match(await admin.acl("DRYRUN", "alice", "GET", "a:1"), /no permissions to run the 'get' command/);
  await assert.rejects(admin.acl("SETUSER", "alice", "+nosuch"), /Unknown command or category name in ACL/);
  assert.equal(await admin.acl("DELUSER", "alice", "nobody"), 1);
});

withAdmin(async function whatWasRefusedIsTold(admin) {
  await admin.acl("SETUSER", "alice", "on", ">secret", "~a:*", "+get", "+info");
  assert.equal(await admin.acl("LOG", "RESET"), "OK");
  const alice = io({ username: "alice", password: "secret", enableReadyCheck: false });
  await assert.rejects(alice.get("b"), refused(""));
  await assert.rejects(alice.set("a:1", "v"), refused(""));
  const [second, first] = (await admin.acl("LOG"))
    .map(object)
    .filter((e) => e.reason !== "auth" && ["b", "set"].includes(e.object));
  assert.deepEqual([first.reason, first.object, first.username], ["key", "b", "alice"]);
  assert.deepEqual([second.reason, second.object, second.context], ["command", "set", "toplevel"]);
  assert.equal(await admin.acl("LOG", "RESET"), "OK");
});

withAdmin(async function nodeRedisAsAUser(admin) {
  const root = await node();
  assert.equal(await root.aclSetUser("alice", ["on", ">secret", "~a:*", "resetchannels", "+@all", "-@dangerous"]), "OK");
  const alice = await node({ username: "alice", password: "secret" });
  assert.equal(await alice.set("a:1", "v"), "OK");
  assert.equal(await root.aclWhoAmI(), "default");
  await assert.rejects(alice.get("b"), refused("key"));
  await assert.rejects(alice.flushAll(), refused("'flushall'"));
  await assert.rejects(alice.publish("c", "x"), refused("channel"));
  await assert.rejects(alice.multi().set("a:2", "v").set("b", "v").exec());
  assert.equal(await root.exists(["a:2", "b"]), 0);
  const shown = await root.aclGetUser("alice");
  assert.ok([...shown.flags].includes("on") && shown.keys === "~a:*" && shown.passwords.length === 1);
  assert.equal(await root.aclGetUser("nobody").catch(() => null), null);
  assert.deepEqual(await root.aclUsers(), ["alice", "default"]);
  assert.ok((await root.aclList()).some((line) => line.startsWith("user alice on ")));
  assert.ok((await root.aclCat("read")).includes("get") && (await root.aclGenPass(20)).length === 5);
  assert.equal(await root.aclDryRun("alice", ["GET", "a:1"]), "OK");
  assert.ok((await root.aclLog()).some((entry) => entry.username === "alice" && entry.object === "flushall"));
  assert.equal(await root.aclLogReset(), "OK");
  await assert.rejects(root.aclSave(), /not configured to use an ACL file/);
  await assert.rejects(root.aclLoad(), /not configured to use an ACL file/);
  // Who is deleted is cut off.
  const ended = event(alice, "error");
  assert.equal(await root.aclDelUser("alice"), 1);
  await ended;
  assert.equal(await admin.acl("WHOAMI"), "default");
});

withAdmin(async function nodeRedisWithAnAddressAndAProvider(admin) {
  await admin.acl("SETUSER", "alice", "on", ">secret", "~*", "+@all");
  const client = await node({ address: `redis://alice:secret@127.0.0.1:${PORT}/2` });
  assert.equal(await client.aclWhoAmI(), "alice");
  assert.equal((await client.clientInfo()).db, 2);
  await assert.rejects(node({ address: `redis://alice:wrong@127.0.0.1:${PORT}` }), WRONG);
  await assert.rejects(node({ username: "nobody", password: "secret" }), WRONG);
  const provided = await node({
    credentialsProvider: { type: "async-credentials-provider", credentials: async () => ({ username: "alice", password: "secret" }) },
  });
  assert.equal(await provided.aclWhoAmI(), "alice");
});

withAdmin(async function aPasswordOfAll(admin) {
  await admin.config("SET", "requirepass", "secret");
  try {
    await assert.rejects(async () => (await node()).ping(), /NOAUTH/);
    await assert.rejects(node({ password: "wrong" }), WRONG);
    assert.equal(await (await node({ password: "secret" })).ping(), "PONG");
    assert.equal(await io({ password: "secret" }).ping(), "PONG");
  } finally {
    await admin.config("SET", "requirepass", "");
  }
  assert.equal(await io().ping(), "PONG");
});

withAdmin(async function anotherConnectionHearsOfChangedKeys(admin) {
  // Client-side caching with a connection of its own for what changed, which is how RESP2 has it.
  const heard = [];
  const listener = io({ protocol: 2 });
  const number = await listener.client("ID");
  await listener.subscribe("__redis__:invalidate");
  listener.on("message", (channel, keys) => heard.push([channel, keys]));
  const reader = io({ protocol: 2 });
  assert.equal(await reader.client("TRACKING", "ON", "REDIRECT", number), "OK");
  assert.equal(await reader.client("GETREDIR"), number);
  assert.equal(await reader.get("k"), null);
  await admin.set("k", "v");
  await eventually(() => heard.length === 1);
  assert.deepEqual(heard[0].flat(), ["__redis__:invalidate", "k"]);
  // A key is told once until it is read again.
  await admin.set("k", "w");
  assert.equal(await reader.get("k"), "w");
  await admin.del("k");
  await eventually(() => heard.length === 2);
  assert.deepEqual(heard[1].flat(), ["__redis__:invalidate", "k"]);
  assert.equal(await reader.client("TRACKING", "OFF"), "OK");
  assert.equal(await reader.client("TRACKING", "ON", "REDIRECT", number, "BCAST", "PREFIX", "user:"), "OK");
  await admin.mset("user:1", "v", "other", "v");
  await eventually(() => heard.length === 3);
  assert.deepEqual(heard[2].flat(), ["__redis__:invalidate", "user:1"]);
  const info = object(await reader.client("TRACKINGINFO"));
  assert.deepEqual([[...info.flags], info.redirect, info.prefixes], [["on", "bcast"], number, ["user:"]]);
});

withAdmin(async function whatIsTrackedIsSaidBefore(admin) {
  const heard = [];
  const listener = io({ protocol: 2 });
  const number = await listener.client("ID");
  await listener.subscribe("__redis__:invalidate");
  listener.on("message", (channel, keys) => heard.push([keys].flat().join()));
  const reader = io({ protocol: 2 });
  await assert.rejects(reader.client("CACHING", "YES"), /only when the client is in tracking mode/);
  // Of two keys only the one is remembered that was read after CACHING.
  for (const [mode, word, told] of [["OPTIN", "YES", "b"], ["OPTOUT", "NO", "a"]]) {
    assert.equal(await reader.client("TRACKING", "ON", "REDIRECT", number, mode), "OK");
    await reader.get("a");
    assert.equal(await reader.client("CACHING", word), "OK");
    await reader.get("b");
    const before = heard.length;
    await admin.mset("a", 1, "b", 1);
    await eventually(() => heard.length > before);
    assert.deepEqual(heard.slice(before), [told], mode);
    assert.equal(await reader.client("TRACKING", "OFF"), "OK");
  }
  assert.equal(await reader.client("GETREDIR"), -1);
  await assert.rejects(reader.client("TRACKING", "ON", "REDIRECT", 99999999), /does not exist/);
  // Whoever was to hear of it is gone, and the reader is told as much where it asks.
  assert.equal(await reader.client("TRACKING", "ON", "REDIRECT", number), "OK");
  listener.disconnect();
  await eventually(async () => (await admin.client("LIST", "ID", number)) === "");
  await reader.get("a");
  await admin.set("a", 2);
  await eventually(async () => [...object(await reader.client("TRACKINGINFO")).flags].includes("broken_redirect"));
});

withAdmin(async function aClientThatWantsNoReplies(admin) {
  const silent = io({ commandTimeout: 300, retryStrategy: null });
  assert.equal(await silent.client("REPLY", "ON"), "OK");
  const number = await silent.client("ID");
  await assert.rejects(silent.client("REPLY", "OFF"), /timed out/);
  silent.set("k", "v").catch(() => {});
  await eventually(async () => (await admin.get("k")) === "v");
  // It was not named before, and is there all the same.
  const [seen] = described(await admin.client("LIST", "ID", number));
  assert.equal(seen.name, "");
  await assert.rejects(admin.client("REPLY", "MAYBE"), /syntax error/);
});

withAdmin(async function clientsAreSpared(admin) {
  const client = io({ connectionName: "spared" });
  assert.equal(await client.client("NO-EVICT", "ON"), "OK");
  const number = await client.client("ID");
  assert.equal(described(await admin.client("LIST", "ID", number))[0].flags, "e");
  assert.equal(await client.client("NO-EVICT", "OFF"), "OK");
  await assert.rejects(client.client("NO-EVICT", "MAYBE"), /syntax error/);
  assert.equal(await client.client("SETNAME", "other"), "OK");
  assert.equal(await client.client("GETNAME"), "other");
  await assert.rejects(client.client("SETNAME", "two words"), /cannot contain spaces/);
  assert.match(await client.client("INFO"), /^id=\d+ .* name=other /);
  assert.ok((await client.client("HELP")).some((line) => line.startsWith("NO-EVICT")));
});

withAdmin(async function clientsAreListedAndKilled(admin) {
  const other = io({ connectionName: "other", retryStrategy: () => 10 });
  const number = await other.client("ID");
  assert.equal(await other.client("GETNAME"), "other");
  const [seen] = described(await admin.client("LIST", "ID", number));
  assert.deepEqual([seen.name, seen.user, seen.flags], ["other", "default", "N"]);
  assert.equal(described(await admin.client("LIST", "TYPE", "normal")).filter((c) => c.name === "other").length, 1);
  const again = event(other, "ready");
  assert.equal(await admin.client("KILL", "ID", number), 1);
  await again;
  const next = await other.client("ID");
  assert.ok(next > number);
  const address = described(await admin.client("LIST", "ID", next))[0].addr;
  assert.equal(await admin.client("KILL", address), "OK");
  await assert.rejects(admin.client("KILL", "127.0.0.1:1"), /No such client/);
  const client = await node({ name: "third" });
  assert.equal(await client.clientGetName(), "third");
  const id = await client.clientId();
  const listed = await client.clientList({ TYPE: "NORMAL" });
  assert.equal(listed.find((c) => c.id === id).name, "third");
  assert.equal((await client.clientInfo()).id, id);
  assert.equal(await client.clientNoEvict(true), "OK");
  const ended = event(client, "error");
  assert.equal(await admin.client("KILL", "ID", id), 1);
  await ended;
});

withAdmin(async function clientsWaitWhileAllArePaused(admin) {
  const client = await node();
  assert.equal(await client.set("k", "v"), "OK");
  assert.equal(await client.clientPause(60_000, "WRITE"), "OK");
  assert.equal(await client.get("k"), "v");
  let done = false;
  const write = io().set("k", "w").then(() => (done = true));
  await eventually(async () => described(await admin.client("LIST")).some((c) => c.flags === "b"));
  assert.equal(await client.get("k"), "v");
  assert.equal(done, false);
  assert.equal(await client.clientUnpause(), "OK");
  await write;
  assert.equal(await client.get("k"), "w");
});

withAdmin(async function aClientThatWaitsIsWoken(admin) {
  const waiting = io();
  const number = await waiting.client("ID");
  const pop = waiting.blpop("nothing", 60);
  await eventually(async () => (await admin.client("UNBLOCK", number)) === 1);
  assert.equal(await pop, null);
  const failing = assert.rejects(waiting.blpop("nothing", 60), /^ReplyError: UNBLOCKED|UNBLOCKED/);
  await eventually(async () => (await admin.client("UNBLOCK", number, "ERROR")) === 1);
  await failing;
});

withAdmin(async function clientsKeepTheirKeysCold(admin) {
  const client = await node();
  assert.equal(await client.clientNoTouch(true), "OK");
  assert.ok((await client.clientInfo()).flags.includes("T"));
  assert.equal(await client.clientNoTouch(false), "OK");
  assert.equal(await admin.client("NO-TOUCH", "ON"), "OK");
  assert.equal(await admin.client("SETINFO", "LIB-NAME", "mine"), "OK");
  assert.equal(described(await admin.client("INFO"))[0]["lib-name"], "mine");
}, "client|no-touch");

await main();
