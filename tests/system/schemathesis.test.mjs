// SPDX-License-Identifier: Apache-2.0
// schemathesis (PyPI) makes requests of openapi.yaml, good ones, bad ones and sequences of them, and holds the answers
// against it. What it has to know about taskwire is in tests/schemathesis.
import test from 'node:test';
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { Bench, root } from '../lib/program.mjs';
import { Client } from '../lib/client.mjs';

const SEED = process.env.TASKWIRE_SEED ?? '4';
const EXAMPLES = '8'; // of each operation, beside those that schemathesis derives from the schema's limits

async function prepare(url) {
  const owner = await Client.register(url);
  const list = await owner.list('Attacked');
  const task = await owner.task(list.id, { due: '2027-01-01T09:00', recurrence: { rule: 'daily' } });
  const other = await Client.register(url, { email: 'ben@example.org' }); // whom an example adds to a list
  await owner.post(`/v1/lists/${list.id}/members`, { email: 'ben@example.org', role: 'editor' });
  return {
    PROOF_URL: url, PROOF_EMAIL: owner.email, PROOF_PASSWORD: owner.password,
    PROOF_LIST: list.id, PROOF_TASK: task.id, PROOF_SERIES: task.series, PROOF_ACCOUNT: other.account,
  };
}

test('every answer to what schemathesis thinks of is as openapi.yaml says', { timeout: 300_000 }, async () => {
  const bench = await Bench.start();
  let result;
  try {
    const world = await prepare(bench.taskwire.url);
    const own = join(root, 'tests/schemathesis');
    const args = ['--config-file', join(own, 'schemathesis.toml'), 'run', join(root, 'schema/openapi.yaml'),
      '--url', bench.taskwire.url, '--seed', SEED, '--max-examples', EXAMPLES, '--continue-on-failure', '--no-color'];
    result = await new Promise((done) => {
      execFile(join(root, 'tests/.venv/bin/schemathesis'), args, {
        cwd: bench.dir,
        maxBuffer: 64 * 1024 * 1024,
        env: { PATH: process.env.PATH, HOME: bench.dir, SCHEMATHESIS_HOOKS: 'hooks', PYTHONPATH: own, PYTHONDONTWRITEBYTECODE: '1', ...world },
      }, (error, stdout, stderr) => done({ code: error?.code ?? 0, text: stdout + stderr }));
    });
    console.log(result.text.split('\n').filter((line) => /generated|^ +API Links|==== .* ====/.test(line)).join('\n'));
  } finally {
    await bench.stop().catch((error) => { throw new Error(`${error.message}\n${result?.text}`); });
  }
  assert.equal(result.code, 0, result.text);
});
