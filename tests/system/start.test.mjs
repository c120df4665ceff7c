// SPDX-License-Identifier: Apache-2.0
// "listening on" is said when every gateway can read and the writer can write: whoever waited for it needs no second try.
import { it } from 'node:test';
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Bench } from '../lib/program.mjs';
import { Client } from '../lib/client.mjs';
import { granted } from '../lib/expect.mjs';

const STARTS = 20;
const GATEWAYS = 3;

it('who asks at the instant at which it says that it listens is answered, on every gateway', async (t) => {
  const bench = await Bench.start({ start: false });
  t.after(() => bench.stop());
  const program = bench.program({ GATEWAYS });

  // The address, as soon as the line is there.
  async function start() {
    program.spawn();
    for (;;) {
      await Promise.race([once(program.process.stdout, 'data'), program.ended]);
      const said = /listening on (\S+)\n/.exec(program.stdout);
      if (said) return said[1];
      assert.equal(program.exit, null, program.log);
    }
  }

  for (let n = 0; n < STARTS; n++) {
    const url = await start();
    // New connections go to the gateways in turn.
    const answers = await Promise.all(Array.from({ length: GATEWAYS }, (_, i) => new Client(url).post('/v1/accounts',
      { email: `start-${n}-${i}@example.org`, password: 'correct horse battery staple', name: 'Early' })));
    for (const answer of answers) granted(answer, 201);
    await (n % 2 ? program.kill() : program.stop());
  }
});
