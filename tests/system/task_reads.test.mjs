// SPDX-License-Identifier: Apache-2.0
// Tasks that many ask for at the same time are read by few statements: everybody must hear of his own.
import { it } from 'node:test';
import assert from 'node:assert/strict';
import http from 'node:http';
import { Bench } from '../lib/program.mjs';
import { Client, uuid } from '../lib/client.mjs';
import { granted } from '../lib/expect.mjs';

const READERS = 150;

it('of many who ask for tasks at the same time each gets what he may see, and nothing else', async (t) => {
  const bench = await Bench.start();
  t.after(() => bench.stop());
  const { url } = bench.taskwire;
  const [me, other] = await Promise.all([Client.register(url), Client.register(url)]);
  const lists = [await me.list(), await me.list()];
  const tasks = await Promise.all(Array.from({ length: 20 }, (_, i) => me.task(lists[i % 2].id, { title: `Task ${i}` })));
  const gone = await me.task(lists[0].id);
  granted(await me.delete(`/v1/tasks/${gone.id}`));
  const restricted = new Client(url, granted(await me.post('/v1/tokens',
    { name: 'one list', scopes: ['read'], lists: [lists[0].id] }), 201).token);

  // Who asks for what, and the title that is to come; undefined: 404.
  const asks = Array.from({ length: READERS }, (_, i) => {
    const task = tasks[i % tasks.length];
    const kinds = [
      [me, task.id, task.title],
      [other, task.id, undefined],
      [restricted, task.id, task.list === lists[0].id ? task.title : undefined],
      [me, i % 2 ? gone.id : uuid(), undefined],
      [me, task.id, task.title],
    ];
    return kinds[Math.floor(i / tasks.length) % kinds.length];
  });

  const agent = new http.Agent({ keepAlive: true, maxSockets: READERS });
  t.after(() => agent.destroy());
  const get = ([client, id]) => new Promise((done, failed) => {
    const headers = { Authorization: `Bearer ${client.token}` };
    http.get(`${url}/v1/tasks/${id}`, { agent, headers }, (answer) => {
      let text = '';
      answer.on('data', (chunk) => { text += chunk; });
      answer.on('end', () => done({ status: answer.statusCode, etag: answer.headers.etag, body: JSON.parse(text) }));
    }).on('error', failed);
  });

  for (let round = 0; round < 5; round++) {
    const answers = await Promise.all(asks.map(get));
    answers.forEach((answer, i) => {
      const [, id, title] = asks[i];
      assert.equal(answer.status, title === undefined ? 404 : 200, JSON.stringify(answer));
      if (title === undefined) return;
      assert.deepEqual([answer.body.id, answer.body.title], [id, title]);
      assert.ok(answer.etag);
    });
  }

  // Without the database everybody is told so, and afterwards all is as before.
  await bench.cluster.kill();
  for (const answer of await Promise.all(asks.map(get))) assert.equal(answer.status, 503, JSON.stringify(answer.body));
  await bench.cluster.start();
});
