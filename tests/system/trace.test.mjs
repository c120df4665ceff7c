// SPDX-License-Identifier: Apache-2.0
// W3C trace context: what a request brings goes on to its events, and from there to the commands of the actors; without
// Kafka and with it.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { randomBytes, randomUUID } from 'node:crypto';
import { Client } from '../lib/client.mjs';
import { granted } from '../lib/expect.mjs';
import { Kafka } from '../lib/kafka.mjs';
import { Bench } from '../lib/program.mjs';
import { waitFor } from '../lib/wait.mjs';

const SPAN = 'b7ad6b7169203331';

let kafka;
before(async () => { kafka = await Kafka.any(); });
after(() => kafka?.remove());

for (const mode of ['without Kafka', 'with Kafka']) {
  describe(`the trace of a request, ${mode}`, { timeout: 180_000 }, () => {
    let bench;
    let me;
    let list;

    before(async () => {
      bench = await Bench.start({ kafka: mode === 'with Kafka' ? kafka : null });
      me = await Client.register(bench.taskwire.url);
      list = await me.list();
    });
    after(() => bench?.stop());

    // A trace of its own: {id, header}.
    const trace = (flags = '01') => {
      const id = randomBytes(16).toString('hex');
      return { id, header: { traceparent: `00-${id}-${SPAN}-${flags}` } };
    };
    // What an event carries: {id, span, flags}; null: nothing.
    async function carried(where) {
      const hex = await bench.cluster.value(`SELECT coalesce(encode(trace, 'hex'), '-') FROM event WHERE ${where}`);
      return hex === '-' ? null : { id: hex.slice(0, 32), span: hex.slice(32, 48), flags: hex.slice(48) };
    }
    const ofTask = (task, type) => carried(`task = '${task.id}' AND type = ${type}`);
    const CREATED = 1;
    const UPDATED = 2;
    const COMPLETED = 3;
    const DUE = 11;

    it('is in its event, as a span of its own', async () => {
      const { id, header } = trace();
      const task = await me.task(list.id);
      granted(await me.patch(`/v1/tasks/${task.id}`, { title: 'Traced' }, header));
      const found = await ofTask(task, UPDATED);
      assert.equal(found.id, id);
      assert.notEqual(found.span, SPAN);
      assert.match(found.span, /^(?!0{16})[0-9a-f]{16}$/);
      assert.equal(found.flags, '01');
      assert.equal(await ofTask(task, CREATED), null, 'what was not traced carries nothing');
    });

    it('is in every event of every command of a bulk', async () => {
      const { id, header } = trace('00');
      const ids = [randomUUID(), randomUUID()];
      granted(await me.post('/v1/commands', { commands: ids.map((task) => (
        { id: randomUUID(), op: 'task.create', list: list.id, task, data: { title: 'Bulk' } })) }, header));
      const found = await Promise.all(ids.map((task) => ofTask({ id: task }, CREATED)));
      assert.deepEqual(found.map((one) => [one.id, one.flags]), [[id, '00'], [id, '00']]);
      assert.notEqual(found[0].span, found[1].span);
    });

    it('is passed over if it is malformed', async () => {
      const id = randomBytes(16).toString('hex');
      const wrong = ['nonsense', `00-${id}-${SPAN}`, `00-${id.toUpperCase()}A-${SPAN}-01`, `00-${'0'.repeat(32)}-${SPAN}-01`, `00-${id}-${'0'.repeat(16)}-01`,
        `ff-${id}-${SPAN}-01`, `00-${id}-${SPAN}-01-more`, `00-${id}-${SPAN}-01, 00-${id}-${SPAN}-01`];
      for (const traceparent of wrong) {
        const task = granted(await me.post(`/v1/lists/${list.id}/tasks`, { title: 'Untraced' }, { traceparent }), 201);
        assert.equal(await ofTask(task, CREATED), null, traceparent);
      }
    });

    it('is the same for a repeat, which makes no second event', async () => {
      const first = trace();
      const key = { 'Idempotency-Key': randomUUID() };
      const task = granted(await me.post(`/v1/lists/${list.id}/tasks`, { title: 'Once' }, { ...key, ...first.header }), 201);
      const again = granted(await me.post(`/v1/lists/${list.id}/tasks`, { title: 'Once' }, { ...key, ...trace().header }), 201);
      assert.equal(again.id, task.id);
      assert.equal((await ofTask(task, CREATED)).id, first.id);
    });

    it('goes on to the next occurrence, which is a further span', async () => {
      const { id, header } = trace();
      const task = await me.task(list.id, { due: '2030-01-01', recurrence: { rule: 'daily' } });
      granted(await me.post(`/v1/tasks/${task.id}/complete`, {}, header));
      const next = `SELECT id FROM task WHERE series = '${task.id}' AND occurrence = 2`;
      const successor = { id: await waitFor(() => bench.cluster.value(next), 'the next occurrence', 30_000) };
      const [cause, found] = [await ofTask(task, COMPLETED), await ofTask(successor, CREATED)];
      assert.deepEqual([cause.id, found.id, found.flags], [id, id, '01']);
      assert.notEqual(found.span, cause.span);
    });

    it('goes on to a reminder that fires', async () => {
      const { id, header } = trace();
      const task = granted(await me.post(`/v1/lists/${list.id}/tasks`,
        { title: 'Remind', reminders: [{ at: new Date(Date.now() + 500).toISOString(), for: 'all' }] }, header), 201);
      const fired = `SELECT id FROM event WHERE task = '${task.id}' AND type = ${DUE}`;
      await waitFor(() => bench.cluster.value(fired), 'the reminder', 30_000);
      const [cause, found] = [await ofTask(task, CREATED), await ofTask(task, DUE)];
      assert.deepEqual([cause.id, found.id], [id, id]);
      assert.notEqual(found.span, cause.span);
    });

    it('goes on to a reminder that comes from its row', async () => {
      const { id, header } = trace();
      const task = granted(await me.post(`/v1/lists/${list.id}/tasks`,
        { title: 'Later', reminders: [{ at: new Date(Date.now() + 2500).toISOString(), for: 'all' }] }, header), 201);
      await waitFor(() => bench.cluster.value(`SELECT 1 FROM reminder WHERE task = '${task.id}'`), 'its row', 30_000);
      await bench.taskwire.kill();
      await bench.taskwire.start();
      await waitFor(() => bench.cluster.value(`SELECT id FROM event WHERE task = '${task.id}' AND type = ${DUE}`), 'the reminder', 60_000);
      assert.equal((await ofTask(task, DUE)).id, id);
    });

    it('goes on to the tasks that a removed member leaves', async () => {
      const ben = await Client.register(bench.taskwire.url);
      const shared = await me.list('Shared');
      granted(await me.post(`/v1/lists/${shared.id}/members`, { email: ben.email, role: 'editor' }), 201);
      for (let i = 0; i < 10; i++) await me.task(shared.id, { assignee: ben.account });
      const { id, header } = trace();
      granted(await me.delete(`/v1/lists/${shared.id}/members/${ben.account}`, header), 204);
      await waitFor(async () => (await bench.cluster.value(`SELECT count(*) FROM task WHERE assignee = '${ben.account}'`)) === '0', 'they are released', 30_000);
      assert.equal(await bench.cluster.value(`SELECT count(*) FROM event WHERE stream = '${shared.id}' AND type = ${UPDATED}
        AND substring(encode(trace, 'hex') FOR 32) = '${id}'`), '10');
    });

    it('is no part of the digest, and stays when the body is purged', async () => {
      const { id, header } = trace();
      const task = await me.task(list.id);
      granted(await me.patch(`/v1/tasks/${task.id}`, { title: 'Secret' }, header));
      await bench.cluster.value(`UPDATE event SET body = NULL, salt = NULL, fingerprint = NULL WHERE task = '${task.id}'`);
      assert.equal((await ofTask(task, UPDATED)).id, id);
      await assert.rejects(bench.cluster.value(`UPDATE event SET trace = NULL WHERE task = '${task.id}'`), /append-only|permission/);
      await waitFor(async () => (await me.get(`/v1/audit/${list.id}/verify`)).body.ok, 'the chain is fine', 30_000);
    });
  });
}
