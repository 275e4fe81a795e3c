// node-redis's Sentinel client, of the version that NODE_REDIS names, while leaders come and go: see follow.mjs.

import { randomUUID } from "node:crypto";
import { FLEET, GROUP, HELD, LOCK, NOTE, RELEASE, RESP, SENTINELS, STREAM, Work, main, port } from "./follow.mjs";

const { createSentinel } = await import(process.env.NODE_REDIS);
const sentinel = createSentinel({
  name: FLEET,
  sentinelRootNodes: SENTINELS,
  RESP,
  masterPoolSize: 5,
  replicaPoolSize: 1,
  // A server that is frozen takes connections and answers nothing. Who has nothing to ask must ask something, or is cut off.
  nodeClientOptions: { RESP, pingInterval: 400, socket: { socketTimeout: 1500 } },
});
sentinel.on("error", () => {});
await sentinel.connect();
const work = new Work();

function locker(leader) {
  return async (me) => {
    const token = randomUUID();
    if ((await leader.set(LOCK, token, { PX: HELD, NX: true })) === null) return;
    const at = await work.holds(async () => port(await leader.info("server")));
    const released = await leader.eval(RELEASE, { keys: [LOCK], arguments: [token] });
    if (released !== 1) throw new Error("lost the lock");
    work.done(me, at);
  };
}

const adding = await sentinel.acquire();

async function adder(me) {
  // On one connection: WAIT is about what its own connection wrote.
  const [entry, copies, info] = await adding
    .multi()
    .addCommand(false, ["XADD", STREAM, "*", "n", randomUUID()])
    .addCommand(false, ["WAIT", String(work.copies), "100"])
    .addCommand(false, ["INFO", "server"])
    .execAsPipeline();
  work.added(entry, copies);
  work.done(me, port(info));
}

const reading = await sentinel.acquire();
// Whether something may have been handed out to a reader that it did not get.
let again = true;

async function reader(me) {
  try {
    const from = { key: STREAM, id: again ? "0" : ">" };
    const reply = await reading.xReadGroup(GROUP, "me", from, { COUNT: 100, BLOCK: 200 });
    const got = (reply ?? []).flatMap(({ messages }) => messages.map(({ id }) => id));
    got.forEach((id) => work.read.add(id));
    if (got.length > 0) await reading.xAck(STREAM, GROUP, got);
    again = again && got.length > 0;
    work.done(me, port(await reading.info("server")));
  } catch (error) {
    again = true;
    throw error;
  }
}

await sentinel.xGroupCreate(STREAM, GROUP, "0", { MKSTREAM: true });
await sentinel.set(NOTE, "read me");
const lockers = [locker(await sentinel.acquire()), locker(await sentinel.acquire())];
const workers = { "locker a": lockers[0], "locker b": lockers[1], adder, reader };
const passes = /lost the lock|READONLY|UNBLOCKED|closed|ECONN|EPIPE|[Tt]imeout|reconnect/;
// What only reads goes to a replica.
await main(work, workers, passes, async () => [await sentinel.get(NOTE), port(await sentinel.info("server"))]);
