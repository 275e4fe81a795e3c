// What becomes of the work of a client while leaders come and go, as `follow.rs` tells and asks: the lines are those of
// `python/follow.py`.

import assert from "node:assert/strict";
import { createInterface } from "node:readline";

export const SENTINELS = process.env.SENTINELS.split(" ").map((port) => ({ host: "127.0.0.1", port: Number(port) }));
export const { FLEET, PREFIX } = process.env;
export const RESP = Number(process.env.RESP);
export const [LOCK, STREAM, GROUP, NOTE] = ["lock", "stream", "group", "note"].map((name) => `${PREFIX}:${name}`);
export const RELEASE = "return redis.call('GET', KEYS[1]) == ARGV[1] and redis.call('DEL', KEYS[1]) or 0";
// So many times in a row each worker works at a leader before it counts as followed.
const ROUNDS = 20;
const PACE = 10;
// Of a lock, in milliseconds: whoever takes one and is not told so has to wait that long for it.
export const HELD = 5000;

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** The port that INFO tells. */
export const port = (info) => Number(/tcp_port:(\d+)/.exec(info)[1]);

/** How far the workers are, and what they met. */
export class Work {
  rounds = {};
  leader = null;
  // Good replicas of the leader.
  copies = 0;
  settled = false;
  over = false;
  faults = [];
  failed = 0;
  last = {};
  // Entries that have reached all good servers, and entries that the group has read.
  sure = new Set();
  read = new Set();
  holders = 0;

  done(worker, at) {
    if (at === this.leader) this.rounds[worker] += 1;
    else if (this.settled) this.faults.push(`${worker} works at ${at}, not ${this.leader}`);
  }

  met(worker, error, passes) {
    this.rounds[worker] = 0;
    this.failed += 1;
    this.last[worker] = String(error);
    if (this.settled || !passes.test(error)) this.faults.push(`${worker}: ${error}`);
  }

  /** Holds a lock while something is done. */
  async holds(f) {
    this.holders += 1;
    if (this.holders > 1 && this.settled) this.faults.push("two hold the lock");
    try {
      return await f();
    } finally {
      this.holders -= 1;
    }
  }

  added(entry, copies) {
    if (this.copies > 0 && copies >= this.copies) this.sure.add(entry);
  }

  unread() {
    return [...this.sure].filter((entry) => !this.read.has(entry));
  }

  async tells() {
    if (this.unread().length > 0) this.faults.push(`never read: ${this.unread()}`);
    console.log(`${this.sure.size} entries were sure, ${this.read.size} read, ${this.failed} calls failed`);
    this.faults.slice(0, 20).forEach((fault) => console.log(fault));
    console.log(this.faults.length === 0 && this.sure.size > 0 ? "well" : "not well");
    process.exit(0);
  }
}

async function until(condition, what) {
  const end = performance.now() + 60_000;
  while (!(await condition())) {
    assert(performance.now() < end, what());
    await sleep(PACE);
  }
}

/**
 * Has every worker, by its name, do its work again and again, and does what it is told. `passes` are the errors that there
 * may be without a leader; `reads` tells what a replica holds, and its port.
 */
export async function main(work, workers, passes, reads) {
  setTimeout(() => process.exit(1), 240_000).unref();
  const running = Object.entries(workers).map(async ([name, f]) => {
    work.rounds[name] = 0;
    while (!work.over || (name === "reader" && work.unread().length > 0)) {
      try {
        await f(name);
      } catch (error) {
        work.met(name, error, passes);
      }
      await sleep(PACE);
    }
  });
  for await (const line of createInterface({ input: process.stdin })) {
    const [order, at, copies] = line.split(" ");
    if (order === "leader") {
      Object.keys(workers).forEach((name) => (work.rounds[name] = 0));
      [work.leader, work.copies] = [Number(at), Number(copies)];
      const all = () => Object.values(work.rounds).every((n) => n >= ROUNDS);
      await until(() => work.settled || all(), () => `not followed: ${JSON.stringify([work.rounds, work.last, work.faults.slice(0, 20)])}`);
      work.settled = true;
    } else if (order === "read") {
      const fine = async () => {
        const [note, at] = await reads();
        return note === "read me" && at !== work.leader;
      };
      await until(fine, () => "not read");
    } else {
      [work.settled, work.leader] = [false, null];
    }
    console.log(line);
  }
  work.over = true;
  await Promise.race([Promise.all(running), sleep(20_000)]);
  await work.tells();
}
