/** The page's cryptography on a terminal, for the test against the relay's own peers. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline/promises";
import { fileURLToPath, pathToFileURL } from "node:url";

import { build } from "esbuild";

const HERE = dirname(fileURLToPath(import.meta.url));
const target = mkdtempSync(join(tmpdir(), "page-peer-"));
try {
  const code = `export * from "./src/wire/envelope"; export * from "./src/wire/keys"; export * from "./src/wire/encoding";`;
  await build({
    stdin: { contents: code, resolveDir: HERE, loader: "ts" },
    bundle: true, platform: "node", format: "cjs", outfile: join(target, "wire.cjs"), logLevel: "warning",
  });
  const { default: wire } = await import(pathToFileURL(join(target, "wire.cjs")));
  const { node, text } = JSON.parse(process.env.PEER);
  const keys = await wire.createKeys();
  const id = wire.randomId();
  const request = { model: "m", messages: [{ role: "user", content: text }], options: {} };
  const outside = wire.header(id, keys.wire);
  const sealed = await wire.seal({ ...outside, api_v1_request: request }, node);
  console.log(JSON.stringify({ ...outside, ...sealed }));
  const lines = createInterface({ input: process.stdin });
  for await (const line of lines) {
    const opened = await wire.open(JSON.parse(line), keys, id).then(
      (inner) => inner.api_v1_response.message.content,
      (error) => error.constructor.name,
    );
    console.log(JSON.stringify({ text: opened }));
    break;
  }
  lines.close();
} finally {
  rmSync(target, { recursive: true });
}
process.exit(0);
