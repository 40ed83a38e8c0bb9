/** Build the page into the folder that the relay serves: `node build.mjs [folder]`. */

import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";

import { build } from "esbuild";

const HERE = dirname(fileURLToPath(import.meta.url));
const TARGET = process.argv[2] ?? join(HERE, "../src/tokenplace_relay/page");

const bundle = async (entry) => {
  const { outputFiles } = await build({
    absWorkingDir: HERE,
    entryPoints: [entry],
    bundle: true,
    minify: true,
    write: false,
    format: "esm",
    target: ["es2022", "chrome111", "firefox111", "safari16.4"],
    charset: "utf8",
    legalComments: "none",
    jsx: "automatic",
    jsxImportSource: "preact",
    logLevel: "warning",
  });
  return Buffer.from(outputFiles[0].contents);
};

/** A name that changes with the content, so that browsers may cache it permanently. */
const named = (name, content) => {
  const hash = createHash("sha256").update(content).digest("hex").slice(0, 12);
  return name.replace(".", `-${hash}.`);
};

const write = (name, content) => {
  writeFileSync(join(TARGET, name), content);
  writeFileSync(join(TARGET, `${name}.gz`), gzipSync(content, { level: 9 }));
  const quality = { [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY };
  writeFileSync(join(TARGET, `${name}.br`), brotliCompressSync(content, { params: quality }));
};

rmSync(TARGET, { recursive: true, force: true });
mkdirSync(TARGET, { recursive: true });
const parts = {
  SCRIPT: ["app.js", await bundle("src/main.tsx")],
  STYLE: ["app.css", await bundle("src/style.css")],
  ICON: ["icon.svg", readFileSync(join(HERE, "src/icon.svg"))],
};
let html = readFileSync(join(HERE, "src/index.html"), "utf8");
for (const [place, [name, content]] of Object.entries(parts)) {
  html = html.replace(place, named(name, content));
  write(named(name, content), content);
}
write("index.html", Buffer.from(html));
