// A server for tests of Node: in a process of its own, on a port that is free, gone with the one that started it.
//
//   import { start } from "./redkeep.mjs";
//   const redkeep = await start();              // options are those of redis-server: start("--requirepass", "secret")
//   const redis = new Redis(redkeep.url);       // any client
//   await redkeep.stop();
//
// The program is `redkeep` of your PATH, or the one that the environment names as REDKEEP.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

const PROGRAM = process.env.REDKEEP ?? "redkeep";
const OPTIONS = ["--port", "0", "--print-addr", "--exit-with-parent", "--save", "", "--enable-test-commands", "yes"];

export async function start(...options) {
  const child = spawn(PROGRAM, [...OPTIONS, ...options], { stdio: ["ignore", "pipe", "pipe"] });
  let log = "";
  child.stderr.setEncoding("utf8").on("data", (text) => (log += text));
  const ended = new Promise((resolve) => child.once("close", resolve).once("error", resolve));
  // The line comes when clients are served; there is nothing to try and no time to guess.
  const lines = createInterface({ input: child.stdout });
  const [url] = await Promise.race([once(lines, "line"), ended.then(() => [])]);
  if (!url) throw new Error(`${PROGRAM} does not start:\n${log}`);
  // What the test runner waits for are tests, not servers.
  for (const handle of [child, child.stdout, child.stderr]) handle.unref();
  return {
    url,
    log: () => log,
    async stop() {
      child.ref();
      child.kill();
      await ended;
    },
  };
}

// The server's time. `send` sends any command: `(...words) => redis.call(...words)` with ioredis,
// `(...words) => client.sendCommand(words)` with node-redis.
export function clock(send) {
  const ask = (...words) => send("REDKEEP", "CLOCK", ...words);
  return {
    freeze: () => ask("FREEZE"),
    thaw: () => ask("THAW"),
    // All that so many seconds bring happens: keys expire, blocked clients time out, leases end.
    async advance(seconds) {
      await ask("FREEZE");
      await ask("ADVANCE", `${Math.round(seconds * 1000)}`);
    },
  };
}
