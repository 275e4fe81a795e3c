// What the programs of this folder share: how their runs are told, started and limited in time.
//
// A program hands its runs to `run` and ends with `await main()`. Every run begins on an empty server and says what its
// user relies on by `assert`. The program ends well if none failed.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { Redis } from "ioredis";

export const PORT = Number(process.env.REDIS_PORT);
export const URL = `redis://127.0.0.1:${PORT}`;
// Where the server's Unix socket and other files of it are.
export const FOLDER = process.env.REDIS_FOLDER;
// Set when the server is another one than Redkeep: only there may a run be left out because a command is not known.
const OTHER_SERVER = "REDKEEP_E2E_SERVER" in process.env;

const runs = [];

/** Adds a run; `needs` names a command that older servers do not have. */
export function run(f, needs) {
  runs.push([f, needs]);
}

/** Calls the runs whose names hold the first argument, if there is one. */
export async function main() {
  setTimeout(() => {
    console.log("the program does not end");
    process.exit(1);
  }, 100_000);
  const only = process.argv[2] ?? "";
  const admin = new Redis(PORT, { protocol: 2 });
  const failed = [];
  let done = 0;
  for (const [f, needs] of runs.filter(([f]) => f.name.includes(only))) {
    if (OTHER_SERVER && needs && !(await admin.command("INFO", needs))[0]) {
      console.log(`${f.name}: left out, for want of ${needs}`);
      continue;
    }
    await admin.flushall();
    const start = performance.now();
    try {
      await f();
    } catch (error) {
      failed.push(f.name);
      console.log(error);
    }
    console.log(`${f.name}: ${((performance.now() - start) / 1000).toFixed(2)} s`);
    done += 1;
  }
  assert(done > 0, "no run of that name");
  console.log(`${done} runs, failed: ${failed.join(", ") || "none"}`);
  process.exit(failed.length ? 1 : 0);
}

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Waits until a condition holds, and returns what it gave. */
export async function eventually(condition, seconds = 30) {
  const until = performance.now() + seconds * 1000;
  for (;;) {
    const value = await condition();
    if (value) return value;
    assert(performance.now() < until, `never came: ${condition}`);
    await sleep(5);
  }
}

/** An event of an emitter, as its arguments. */
export function event(emitter, name, seconds = 30) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no ${name}`)), seconds * 1000);
    emitter.once(name, (...args) => {
      clearTimeout(timer);
      resolve(args);
    });
  });
}

/** Another program of this folder beside this one; what it prints is ours, too. */
export function start(program, env = {}) {
  const child = spawn(process.execPath, [new globalThis.URL(program, import.meta.url).pathname], {
    env: { ...process.env, ...env },
    stdio: ["ignore", "inherit", "inherit"],
  });
  return child;
}

/** How many clients wait in a blocking command. */
export async function blocked(redis) {
  return Number(/blocked_clients:(\d+)/.exec(await redis.info("clients"))[1]);
}
