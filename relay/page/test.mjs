/** Run the tests in test/ with Node's own runner; they are bundled as the page is. */

import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { build } from "esbuild";

const HERE = dirname(fileURLToPath(import.meta.url));
const target = mkdtempSync(join(tmpdir(), "page-tests-"));
const names = readdirSync(join(HERE, "test")).filter((name) => name.endsWith(".test.ts"));
try {
  await build({
    absWorkingDir: HERE,
    entryPoints: names.map((name) => join("test", name)),
    bundle: true,
    platform: "node",
    format: "cjs",
    target: "node18",
    outExtension: { ".js": ".cjs" },
    outdir: target,
    sourcemap: "inline",
    jsx: "automatic",
    jsxImportSource: "preact",
    logLevel: "warning",
  });
  const files = names.map((name) => join(target, name.replace(/\.ts$/, ".cjs")));
  const done = spawnSync(process.execPath, ["--enable-source-maps", "--test", "--test-reporter=tap", ...files], { stdio: "inherit" });
  process.exitCode = done.status ?? 1;
} finally {
  rmSync(target, { recursive: true });
}
