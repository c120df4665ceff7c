// SPDX-License-Identifier: Apache-2.0
import test from 'node:test';
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { Bench, root } from '../lib/program.mjs';

for (const gateways of [1, 2]) {
  test(`the tour works with ${gateways} gateway(s)`, async () => {
    const bench = await Bench.start({ settings: { GATEWAYS: gateways } });
    try {
      const { code, text } = await new Promise((done) => {
        execFile(join(root, 'deploy/tour'), [bench.taskwire.url], (error, stdout, stderr) => {
          done({ code: error?.code ?? 0, text: stdout + stderr });
        });
      });
      assert.equal(code, 0, text);
      assert.match(text, /All of it works/);
    } finally {
      await bench.stop();
    }
  });
}
