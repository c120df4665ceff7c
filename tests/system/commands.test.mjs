// SPDX-License-Identifier: Apache-2.0
// Many commands in one request: each has its result, in order; an atomic bulk is done wholly or not at all.
import { describe, it, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { Bench } from '../lib/program.mjs';
import { Client, uuid } from '../lib/client.mjs';
import { granted, problem, refused } from '../lib/expect.mjs';
import { readAll } from '../lib/pages.mjs';
import { random } from '../lib/wait.mjs';

const seed = Number(process.env.TASKWIRE_SEED ?? Date.now() % 1_000_000);

describe('bulk commands', { timeout: 600_000 }, () => {
  let bench;
  let me;
  let viewer;

  const bulk = async (commands, extra = {}, who = me) => {
    const { results } = granted(await who.post('/v1/commands', { commands, ...extra }));
    assert.deepEqual(results.map((result) => result.id), commands.map((command) => command.id ?? null));
    return results;
  };
  const create = (list, fields = {}, extra = {}) => ({ id: uuid(), op: 'task.create', list: list.id, data: { title: 'x', ...fields }, ...extra });
  const patch = (task, data, extra = {}) => ({ id: uuid(), op: 'task.patch', task: task.id ?? task, data, ...extra });
  const head = async (list) => granted(await me.get(`/v1/lists/${list.id}`)).head;
  const tasksOf = (list) => readAll(me, `/v1/lists/${list.id}/tasks`, { limit: 500, status: ['open', 'in_progress', 'done', 'cancelled'] });
  const codes = (results) => results.map((result) => result.ok ? 'ok' : result.problem.code);

  before(async () => {
    bench = await Bench.start();
    me = await Client.register(bench.taskwire.url);
    viewer = await Client.register(bench.taskwire.url);
  });
  after(() => bench?.stop());

  for (const atomic of [false, true]) {
    it(`each command has its result, in order, and sees what those before it did (atomic: ${atomic})`, async () => {
      const list = await me.list();
      const task = uuid();
      const results = await bulk([
        create(list, { title: 'first' }, { task }), patch(task, { title: 'renamed', tags: ['a'] }), patch(task, { tags: { add: ['b'] } }),
        { id: uuid(), op: 'task.complete', task }, { id: uuid(), op: 'member.put', list: list.id, data: { email: viewer.email, role: 'viewer' } },
      ], { atomic });
      assert.deepEqual(codes(results), ['ok', 'ok', 'ok', 'ok', 'ok'], JSON.stringify(results));
      assert.deepEqual(results.map((result) => [result.stream, result.rev]), [2, 3, 4, 5, 6].map((rev) => [list.id, rev]));
      assert.deepEqual(results.map((result) => result.task?.status), ['open', 'open', 'open', 'done', undefined]);
      assert.deepEqual(granted(await me.get(`/v1/tasks/${task}`)), results[3].task);
      assert.equal(granted(await viewer.get(`/v1/tasks/${task}`)).title, 'renamed');
    });

    it(`a repeat of a bulk gives the first answers (atomic: ${atomic})`, async () => {
      const list = await me.list();
      const commands = [create(list, { title: 'a' }), create(list, { title: 'b' }, { task: uuid() })];
      commands.push(patch(commands[1].task, { title: 'c' }));
      const first = await bulk(commands, { atomic });
      const before = await head(list);
      const again = await bulk(commands, { atomic });
      assert.deepEqual(again.map(({ id, ok, stream, rev }) => ({ id, ok, stream, rev })), first.map(({ id, ok, stream, rev }) => ({ id, ok, stream, rev })));
      assert.equal(await head(list), before);
      const mixed = await bulk([...commands, create(list)], { atomic });
      assert.deepEqual(codes(mixed), ['ok', 'ok', 'ok', 'ok']);
      assert.equal(await head(list), before + 1);
      const other = await bulk([{ ...commands[0], data: { title: 'other' } }, create(list)], { atomic });
      assert.deepEqual(codes(other), ['idempotency_mismatch', atomic ? 'aborted' : 'ok']);
    });

    it(`a thousand commands cost few batches (atomic: ${atomic})`, async () => {
      const list = await me.list();
      const before = await bench.taskwire.metric('taskwire_writer_batch_commands_count');
      const results = await bulk(Array.from({ length: 1000 }, (_, i) => create(list, { title: `${i}` })), { atomic });
      assert.ok(results.every((result, i) => result.ok && result.rev === i + 2 && result.task.title === `${i}`));
      const batches = await bench.taskwire.metric('taskwire_writer_batch_commands_count') - before;
      assert.ok(batches >= 1 && batches <= 3, `${batches} batches`);
      assert.equal((await tasksOf(list)).length, 1000);
    });

    it(`what cannot be read is refused by itself, with pointers into the request (atomic: ${atomic})`, async () => {
      const list = await me.list();
      const results = await bulk([
        create(list), { op: 'task.create', list: list.id }, { id: uuid(), op: 'task.fly', list: list.id }, { ...create(list), extra: 1 },
        { id: uuid(), op: 'token.create', list: list.id, data: {} }, { id: uuid(), op: 'task.patch' },
      ], { atomic });
      assert.deepEqual(codes(results), [atomic ? 'aborted' : 'ok', 'invalid', 'invalid', 'invalid', 'invalid', 'invalid']);
      const pointers = ['/commands/1/id', '/commands/2/op', '/commands/3/extra', '/commands/4/op', '/commands/5/task'];
      results.slice(1).forEach((result, i) => problem(result.problem, 422, 'invalid', [pointers[i]]));
      assert.equal(await head(list), atomic ? 1 : 2);
    });
  }

  it('without atomic a refused command harms only itself', async () => {
    const list = await me.list();
    const task = await me.task(list.id);
    const results = await bulk([
      patch(task, { priority: 'high' }), patch(task, { title: '', status: 'asleep' }), patch(task, { priority: 'low' }, { list: list.id, expect: 1 }),
      patch(uuid(), { title: 'x' }), create({ id: uuid() }), patch(task, { priority: 'urgent' }),
    ]);
    assert.deepEqual(codes(results), ['ok', 'invalid', 'precondition_failed', 'not_found', 'not_found', 'ok']);
    problem(results[1].problem, 422, 'invalid', ['/commands/1/data/title', '/commands/1/data/status']);
    assert.equal(results[2].problem.current.id, task.id);
    assert.equal(granted(await me.get(`/v1/tasks/${task.id}`)).priority, 'urgent');
  });

  it('of an atomic bulk nothing is left when one is refused, and its ids may be sent again', async () => {
    const [list, other] = [await me.list(), await me.list()];
    const task = await me.task(list.id, { title: 'before', position: 'm' });
    const heads = [await head(list), await head(other)];
    const made = uuid();
    const good = [
      patch(task, { title: 'after', due: '2030-01-01' }), create(list, {}, { task: made }), create(other), patch(made, { notes: 'n' }),
      { id: uuid(), op: 'task.complete', task: task.id }, { id: uuid(), op: 'list.create', data: { title: 'new' } },
    ];
    for (const bad of [patch(task, { title: '' }), patch(uuid(), { title: 'x' }), create({ id: uuid() }), patch(task, {}, { list: list.id, expect: 77 }), create(list, {}, { task: task.id })]) {
      for (const at of [0, 3, good.length]) {
        const commands = [...good];
        commands.splice(at, 0, bad);
        const results = await bulk(commands, { atomic: true });
        results.forEach((result, i) => {
          if (i !== at) problem(result.problem, 409, 'aborted');
          else assert.ok(!result.ok && result.problem.code !== 'aborted', JSON.stringify(result));
        });
      }
    }
    assert.deepEqual([await head(list), await head(other)], heads);
    assert.deepEqual(granted(await me.get(`/v1/tasks/${task.id}`)), task);
    refused(await me.get(`/v1/tasks/${made}`), 404, 'not_found');
    assert.deepEqual(codes(await bulk(good, { atomic: true })), good.map(() => 'ok'));
    assert.deepEqual([await head(list), await head(other)], [heads[0] + 4, heads[1] + 1]);
  });

  it('what of an atomic bulk needs what only a later batch could load leaves nothing of it', async () => {
    const list = await me.list();
    const trunk = await me.task(list.id, { title: 'trunk' });
    const leaf = await me.task(list.id, { title: 'leaf', parent: trunk.id });
    const parent = uuid();
    const commands = () => [create(list, { title: 'parent' }, { task: parent }), patch(trunk, { parent }), { id: uuid(), op: 'task.delete', task: parent }];
    const before = await head(list);
    const results = await bulk(commands(), { atomic: true });
    assert.deepEqual(codes(results), ['aborted', 'aborted', 'conflict']);
    assert.equal(await head(list), before);
    assert.equal(granted(await me.get(`/v1/tasks/${trunk.id}`)).parent, null);
    // One by one there is always a next batch.
    assert.deepEqual(codes(await bulk(commands())), ['ok', 'ok', 'ok']);
    for (const id of [parent, trunk.id, leaf.id]) refused(await me.get(`/v1/tasks/${id}`), 404, 'not_found');
  });

  it('an atomic bulk that changes more tasks than a transaction may is refused, and changes none', async () => {
    const list = await me.list();
    const trunks = await Promise.all(Array.from({ length: 5 }, () => me.task(list.id)));
    for (const trunk of trunks) assert.ok((await bulk(Array.from({ length: 900 }, () => create(list, { parent: trunk.id })))).every((one) => one.ok));
    const before = await head(list);
    const commands = () => trunks.map((trunk) => ({ id: uuid(), op: 'task.delete', task: trunk.id }));
    assert.deepEqual(codes(await bulk(commands(), { atomic: true })), ['aborted', 'aborted', 'aborted', 'aborted', 'too_large']);
    assert.equal(await head(list), before);
    assert.deepEqual(codes(await bulk(commands())), ['ok', 'ok', 'ok', 'ok', 'ok']);
    assert.equal(await head(list), before + 5 * 901);
  });

  it('atomic bulks and single commands of many clients do not harm each other', async (t) => {
    t.diagnostic(`TASKWIRE_SEED=${seed}`);
    const dice = random(seed);
    const lists = [await me.list(), await me.list(), await me.list()];
    const target = await me.task(lists[2].id, { title: 'target' });
    let n = 0;
    await Promise.all(Array.from({ length: 12 }, async (_, who) => {
      for (let i = 0; i < 8; i++) {
        if (who % 3 === 0) {
          granted(await me.patch(`/v1/tasks/${target.id}`, { title: `${who} ${i}` }));
          continue;
        }
        const commands = [create(lists[0]), create(lists[1]), patch(target, { tags: { add: [`t${who}`] } })];
        const isBad = dice.chance(0.4);
        if (isBad) commands.splice(dice.pick([0, 1, 2, 3]), 0, patch(target, { title: '' }));
        const results = await bulk(commands, { atomic: true });
        assert.equal(results.every((result) => result.ok), !isBad, JSON.stringify(results));
        n += isBad ? 0 : 1;
      }
    }));
    assert.deepEqual([(await tasksOf(lists[0])).length, (await tasksOf(lists[1])).length], [n, n]);
  });

  it('a kill leaves of an atomic bulk all or nothing', async () => {
    const lists = await Promise.all(Array.from({ length: 10 }, () => me.list()));
    const bulks = lists.map((list) => Array.from({ length: 40 }, () => create(list)));
    const answers = bulks.map((commands) => me.post('/v1/commands', { commands, atomic: true }).catch(() => null));
    await Promise.race(answers);
    await bench.taskwire.kill();
    await Promise.all(answers);
    await bench.taskwire.start();
    for (const [i, list] of lists.entries()) {
      const n = (await tasksOf(list)).length;
      assert.ok(n === 0 || n === 40, `${n} of 40`);
      assert.deepEqual(new Set(codes(await bulk(bulks[i], { atomic: true }))), new Set(['ok']));
      assert.equal((await tasksOf(list)).length, 40);
    }
  });

  it('everybody may do in bulk what they may do, and no more', async () => {
    const list = await me.list();
    const task = await me.task(list.id);
    granted(await me.post(`/v1/lists/${list.id}/members`, { email: viewer.email, role: 'viewer' }), 201);
    assert.deepEqual(codes(await bulk([patch(task, { title: 'x' }), create(list)], {}, viewer)), ['forbidden', 'forbidden']);
    assert.deepEqual(codes(await bulk([patch(task, { title: 'x' }), create(list)], { atomic: true }, viewer)), ['forbidden', 'aborted']);
    const other = await me.list();
    const token = async (extra) => new Client(bench.taskwire.url, granted(await me.post('/v1/tokens', { name: 't', ...extra }), 201).token);
    const narrow = await token({ scopes: ['read', 'write'], lists: [list.id] });
    assert.deepEqual(codes(await bulk([create(list), create(other), { id: uuid(), op: 'account.patch', data: { name: 'x' } }], {}, narrow)), ['ok', 'not_found', 'forbidden']);
    const session = await bulk([{ id: uuid(), op: 'account.patch', data: { name: 'x' } }], {}, await token({ scopes: ['read', 'write'] }));
    assert.deepEqual(codes(session), ['forbidden']);
    const [written] = await bulk([create(list)], {}, await token({ scopes: ['write'] }));
    assert.ok(written.ok && !('task' in written));
    refused(await (await token({ scopes: ['read'] })).post('/v1/commands', { commands: [] }), 403, 'forbidden');
    const [, nobody] = await bulk([create(list), { id: uuid(), op: 'member.put', list: list.id, data: { email: 'nobody@example.org', role: 'viewer' } }]);
    problem(nobody.problem, 422, 'invalid', ['/commands/1/data/email']);
  });

  it('the same id twice in a bulk is one command', async () => {
    const list = await me.list();
    const one = create(list);
    const results = await bulk([one, one, { ...one, data: { title: 'y' } }]);
    assert.deepEqual(codes(results), ['ok', 'ok', 'idempotency_mismatch']);
    assert.equal(results[0].rev, results[1].rev);
  });

  it('results that would become too large leave tasks out', async () => {
    const list = await me.list();
    const task = await me.task(list.id, { notes: 'n'.repeat(65_536) });
    const results = await bulk(Array.from({ length: 200 }, (_, i) => patch(task, { priority: i % 2 ? 'high' : 'low' })));
    const n = results.filter((result) => result.task).length;
    assert.ok(n > 20 && n < 100, `${n} with a task`);
    assert.ok(results.every((result) => result.ok && result.rev));
  });

  it('a bulk that is none is refused as a whole', async () => {
    const list = await me.list();
    const wrong = [
      [{}, ['/commands']], [{ commands: null }, ['/commands']], [{ commands: {} }, ['/commands']], [{ commands: [], atomic: 1 }, ['/atomic']],
      [{ commands: [], extra: 1 }, ['/extra']], [{ commands: Array.from({ length: 1001 }, () => create(list)) }, ['/commands']], [[], ['']],
    ];
    for (const [body, pointers] of wrong) refused(await me.post('/v1/commands', body), 422, 'invalid', pointers);
    refused(await me.post('/v1/commands'), 400, 'malformed');
    refused(await me.post('/v1/commands', { commands: [create(list, { notes: 'x'.repeat(1_100_000) })] }), 413, 'too_large');
    assert.deepEqual(await bulk([]), []);
    assert.deepEqual(await bulk([], { atomic: true }), []);
    assert.deepEqual((await bulk([5, null, [], 'x'].map((command) => command ?? {}))).map((result) => result.problem.code), Array(4).fill('invalid'));
    assert.equal(await head(list), 1);
  });
});
