// node run_wasi.mjs PROGRAM.wasm FOLDER ARGUMENT...    Runs a WASI program; FOLDER is its "/".
import { readFileSync } from "node:fs";
import { WASI } from "node:wasi";

const [program, folder, ...rest] = process.argv.slice(2);
const { PENLIGHT_ISA } = process.env;
const wasi = new WASI({
  version: "preview1",
  args: [program, ...rest],
  env: PENLIGHT_ISA ? { PENLIGHT_ISA } : {},
  preopens: { "/": folder },
});
const module = await WebAssembly.compile(readFileSync(program));
const instance = await WebAssembly.instantiate(module, wasi.getImportObject());
process.exitCode = wasi.start(instance);
