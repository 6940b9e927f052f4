import { writeFileSync } from "node:fs";

import { make } from "./cases.js";

const [path] = process.argv.slice(2);
if (path === undefined) {
  throw new Error("say where to write");
}
writeFileSync(path, `${JSON.stringify(make(), null, 2)}\n`);
