// SPDX-License-Identifier: Apache-2.0
// A client that is generated from openapi.yaml compiles, and does what the tour does.
import test from 'node:test';
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { copyFileSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Bench, root } from '../lib/program.mjs';

const modules = join(root, 'tests/node_modules');
const settings = {
  strict: true, target: 'es2022', module: 'nodenext', moduleResolution: 'nodenext', noUncheckedIndexedAccess: true,
  exactOptionalPropertyTypes: true, lib: ['es2022', 'dom', 'dom.iterable'], outDir: 'out', rootDir: '.', types: [],
};

function run(cwd, ...args) {
  return new Promise((done) => {
    execFile(process.execPath, args, { cwd }, (error, stdout, stderr) => done({ code: error?.code ?? 0, text: stdout + stderr }));
  });
}

test('a client generated from openapi.yaml compiles and makes the tour', { timeout: 300_000 }, async () => {
  const dir = mkdtempSync(join(tmpdir(), 'tw-client-'));
  const bench = await Bench.start();
  try {
    symlinkSync(modules, join(dir, 'node_modules'));
    copyFileSync(join(root, 'tests/lib/tour.ts'), join(dir, 'tour.ts'));
    writeFileSync(join(dir, 'package.json'), '{"type": "module"}');
    writeFileSync(join(dir, 'process.d.ts'), 'declare const process: { argv: string[] };');
    writeFileSync(join(dir, 'tsconfig.json'), JSON.stringify({ compilerOptions: settings, include: ['*.ts'] }));
    for (const args of [
      [join(modules, 'openapi-typescript/bin/cli.js'), join(root, 'schema/openapi.yaml'), '-o', 'taskwire.d.ts'],
      [join(modules, 'typescript/bin/tsc'), '--project', dir],
      ['out/tour.js', bench.taskwire.url],
    ]) {
      const { code, text } = await run(dir, ...args);
      assert.equal(code, 0, text);
      if (args[0] === 'out/tour.js') assert.match(text, /All of it works/);
    }
  } finally {
    await bench.stop();
    rmSync(dir, { recursive: true, force: true });
  }
});
