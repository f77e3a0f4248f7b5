// Bundles src/ into one page: node build.mjs [OUTPUT], by default ../page.html, which is committed.
// Scripts and styles stand in the page and are named in its policy by their digests, so nothing
// else that might ever stand in it can run.
import { createHash } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const output = process.argv[2] ?? join(here, "..", "page.html");

const { outputFiles } = await build({
  absWorkingDir: here,
  entryPoints: ["src/main.tsx"],
  bundle: true,
  minify: true,
  write: false,
  outdir: "out",
  format: "iife",
  target: "es2022",
  charset: "ascii",
  jsx: "automatic",
  jsxImportSource: "preact",
  legalComments: "none",
});
const textOf = (suffix) => outputFiles.find((file) => file.path.endsWith(suffix)).text.trimEnd();
const digest = (text) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
const [js, css] = [textOf(".js"), textOf(".css")];

const parts = { js, css, script: digest(js), style: digest(css) };
const template = await readFile(join(here, "template.html"), "utf8");
await writeFile(output, template.replace(/\{(script|style|css|js)\}/g, (_, name) => parts[name]));
