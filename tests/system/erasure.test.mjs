// SPDX-License-Identifier: Apache-2.0
// Purging: what is taken out is out of the database, and everybody who reads the log goes on: clients, actors, the audit.
import { describe, it, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { Bench, command } from '../lib/program.mjs';
import { Client, uuid } from '../lib/client.mjs';
import { granted, refused } from '../lib/expect.mjs';
import { waitFor } from '../lib/wait.mjs';

describe('erasure', { timeout: 600_000 }, () => {
  let bench;
  let owner;
  let editor;

  const run = (...args) => command(args, { TASKWIRE_DATABASE_URL: bench.databaseUrl });
  const path = (list, rest = '') => `/v1/lists/${list.id}${rest}`;
  const verify = () => command(['verify'], {
    TASKWIRE_DATABASE_URL: bench.databaseUrl, TASKWIRE_DATA_DIR: bench.taskwire.settings.DATA_DIR ?? `${bench.taskwire.dir}/data`,
  });

  async function purged(...args) {
    const { code, stdout, stderr } = await run('purge', ...args);
    assert.equal(code, 0, stderr);
    return Object.fromEntries([...stdout.matchAll(/(\w+)=(\d+)/g)].map(([, key, value]) => [key, Number(value)]));
  }

  // Whether the word is anywhere in the database, in whatever table and column.
  async function isStored(word) {
    const tables = await bench.cluster.query("SELECT tablename FROM pg_tables WHERE schemaname = 'public'");
    for (const [table] of tables) {
      const hex = Buffer.from(word).toString('hex');
      const found = await bench.cluster.value(`SELECT count(*) FROM ${table} t WHERE t::text LIKE '%${word}%' OR t::text LIKE '%${hex}%'`);
      if (found !== '0') return table;
    }
    return false;
  }

  async function shared(title) {
    const list = await owner.list(title);
    granted(await owner.post(path(list, '/members'), { email: editor.email, role: 'editor' }), 201);
    return list;
  }

  // Everything has been seen by the audit, and is well.
  async function isAudited() {
    await waitFor(async () => (await bench.cluster.value(`SELECT count(*) FROM stream s LEFT JOIN audit_head a ON a.stream = s.id
      WHERE a.rev IS DISTINCT FROM s.head`)) === '0', 'all is audited');
  }

  before(async () => {
    bench = await Bench.start();
    [owner, editor] = await Promise.all([Client.register(bench.taskwire.url), Client.register(bench.taskwire.url)]);
  });
  after(() => bench?.stop());

  it('what is purged is dropped from the memory of every process that runs', async () => {
    const other = await bench.program().start();
    const list = await shared('Remembered');
    const task = await owner.task(list.id, { title: 'Remembered' });
    const programs = [bench.taskwire, other];
    const sockets = await Promise.all(programs.map(({ url }) => new Client(url, owner.token).socket()));
    for (const socket of sockets) await socket.subscribe(list.id);
    const dropped = () => Promise.all(programs.map((program) => program.metric('taskwire_sync_purged_total')));
    for (const args of [['--stream', list.id], ['--stream', list.id], ['--task', task.id]]) {
      const before = await dropped();
      await purged(...args);
      await waitFor(async () => (await dropped()).every((n, i) => n > before[i]), 'both processes have dropped it');
    }
    const later = await owner.task(list.id, { title: 'Later' });
    for (const socket of sockets) {
      await socket.find((message) => message.task === later.id, 'what comes later');
      assert.ok(!socket.messages.some((message) => message.op === 'reset'), 'who had it all is not disturbed');
      await socket.close();
    }
    await other.stop();
  });

  it('of a list that is in use only the past goes: its tasks stay, and who resumes gets a snapshot', async () => {
    const list = await shared('Inuse');
    const task = await owner.task(list.id, { title: 'Formerly', notes: 'Secretword' });
    const key = uuid();
    granted(await owner.patch(`/v1/tasks/${task.id}`, { title: 'Presently', notes: null }, { 'Idempotency-Key': key }));
    const { epoch } = granted(await owner.get(path(list, '/events')));
    await isAudited();
    assert.ok(await isStored('Secretword'));
    assert.deepEqual(await purged('--stream', list.id), { events: 4, tasks: 0, lists: 0 });
    assert.deepEqual(await purged('--stream', list.id), { events: 0, tasks: 0, lists: 0 });
    assert.equal(await isStored('Secretword'), false);
    assert.equal(granted(await owner.get(`/v1/tasks/${task.id}`)).title, 'Presently');
    refused(await owner.get(path(list, '/events')), 410, 'resync_required');
    const later = await editor.task(list.id, { title: 'Later' });
    assert.equal(later.rev, 5);
    assert.deepEqual(granted(await owner.get(path(list, '/events?after=4'))).items.map((event) => event.rev), [5]);
    refused(await owner.get(path(list, `/events?after=3&epoch=${epoch}`)), 410, 'resync_required');
    const history = granted(await owner.get(`/v1/tasks/${task.id}/history`)).items;
    assert.equal(history.length, 2);
    for (const event of history) assert.equal(event.set, undefined);
    const socket = await editor.socket();
    assert.equal((await socket.subscribe(list.id, { after: 2, epoch })).op, 'snapshot');
    await socket.close();
    const fresh = await editor.socket();
    assert.equal((await fresh.subscribe(list.id, { after: 4, epoch })).op, 'subscribed');
    await fresh.find((message) => message.op === 'event' && message.rev === 5, 'what came after');
    await fresh.close();
    const again = await owner.patch(`/v1/tasks/${task.id}`, { title: 'Presently', notes: null }, { 'Idempotency-Key': key });
    assert.equal(granted(again).title, 'Presently');
    assert.equal(again.headers.get('idempotent-replay'), 'true');
    await isAudited();
    const report = granted(await owner.get(`/v1/audit/${list.id}/verify`));
    assert.deepEqual([report.ok, report.events, report.purged], [true, 5, 4]);
  });

  it('of a deleted list everything goes, and nobody can bring it back', async () => {
    const list = await shared('Doomedlist');
    const at = new Date(Date.now() + 86_400_000).toISOString();
    await owner.task(list.id, { title: 'Doomedtask', tags: ['doomedtag'], reminders: [{ at, for: 'all' }] });
    const done = await editor.task(list.id, { title: 'Doomeddone' });
    granted(await owner.post(`/v1/tasks/${done.id}/complete`));
    await waitFor(async () => (await bench.cluster.value(`SELECT count(*) FROM reminder WHERE list = '${list.id}'`)) === '1', 'the reminder');
    assert.equal((await owner.delete(path(list))).status, 204);
    await isAudited();
    assert.deepEqual(await purged('--stream', list.id), { events: 6, tasks: 2, lists: 1 });
    for (const word of ['Doomedtask', 'doomedtag', 'Doomeddone']) assert.equal(await isStored(word), false, word);
    assert.equal(await bench.cluster.value(`SELECT length(title) FROM list WHERE id = '${list.id}'`), '0');
    assert.equal(await bench.cluster.value(`SELECT count(*) FROM reminder WHERE list = '${list.id}'`), '0');
    refused(await owner.post(path(list, '/restore')), 404, 'not_found');
    refused(await editor.get(`/v1/tasks/${done.id}`), 404, 'not_found');
    assert.ok(!granted(await owner.get('/v1/lists?deleted=true')).items.some((item) => item.id === list.id));
    const { code, stdout } = await verify();
    assert.equal(code, 0, stdout);
    assert.match(stdout, /purged=\d*[1-9]/);
  });

  it('of a task its events go, and what is deleted of it', async () => {
    const list = await shared('Around');
    const kept = await owner.task(list.id, { title: 'Keptword', notes: 'Oldnotes' });
    granted(await owner.patch(`/v1/tasks/${kept.id}`, { notes: 'Newnotes' }));
    const gone = await owner.task(list.id, { title: 'Goneword' });
    granted(await owner.delete(`/v1/tasks/${gone.id}`));
    assert.deepEqual(await purged('--task', kept.id), { events: 2, tasks: 0, lists: 0 });
    assert.deepEqual(await purged('--task', gone.id), { events: 2, tasks: 1, lists: 0 });
    assert.equal(await isStored('Oldnotes'), false);
    assert.equal(await isStored('Goneword'), false);
    assert.equal(granted(await owner.get(`/v1/tasks/${kept.id}`)).notes, 'Newnotes');
    const report = granted(await owner.get(`/v1/audit/${list.id}/verify`));
    assert.equal(report.ok, true);
  });

  it('what is stored of a request does not tell what it was, and still tells it from another', async () => {
    const list = await owner.list();
    const keys = [uuid(), uuid()];
    const other = await Client.register(bench.taskwire.url);
    granted(await owner.post(path(list, '/members'), { email: other.email, role: 'editor' }), 201);
    const task = await owner.task(list.id);
    granted(await owner.patch(`/v1/tasks/${task.id}`, { title: 'Same' }, { 'Idempotency-Key': keys[0] }));
    granted(await other.patch(`/v1/tasks/${task.id}`, { title: 'Same' }, { 'Idempotency-Key': keys[1] }));
    assert.equal(await bench.cluster.value(`SELECT count(DISTINCT fingerprint) FROM event WHERE command IN ('${keys[0]}', '${keys[1]}')`), '2');
    const again = await owner.patch(`/v1/tasks/${task.id}`, { title: 'Same' }, { 'Idempotency-Key': keys[0] });
    assert.equal(granted(again).title, 'Same');
    refused(await owner.patch(`/v1/tasks/${task.id}`, { title: 'Else' }, { 'Idempotency-Key': keys[0] }), 409, 'idempotency_mismatch');
  });

  // --- DELETE /v1/me ---

  it('an account that is erased is gone with all that is its own, and leaves the lists of others', async () => {
    const leaver = await Client.register(bench.taskwire.url, { name: 'Leavername' });
    const own = await leaver.list('Ownlist');
    await leaver.task(own.id, { title: 'Owntask' });
    const formerly = await leaver.list('Formerlist');
    await leaver.task(formerly.id, { title: 'Formertask' });
    assert.equal((await leaver.delete(path(formerly))).status, 204);
    const list = await shared('Theirs');
    granted(await owner.post(path(list, '/members'), { email: leaver.email, role: 'editor' }), 201);
    const task = await leaver.task(list.id, { title: 'Staysword', assignee: leaver.account });
    const program = granted(await leaver.post('/v1/tokens', { name: 'Programname', scopes: ['read', 'write'] }), 201);
    refused(await new Client(leaver.url, program.secret ?? program.token).delete('/v1/me'), 403, 'forbidden');
    const sockets = [await leaver.socket(), await leaver.socket()];
    for (const socket of sockets) assert.equal((await socket.subscribe(list.id)).op, 'snapshot');
    const answer = await leaver.delete('/v1/me');
    assert.equal(answer.status, 204, answer.text);
    for (const socket of sockets) assert.equal((await waitFor(() => socket.closed, 'the socket is closed')).code, 4001);
    refused(await leaver.get('/v1/me'), 401, 'unauthenticated');
    refused(await leaver.post('/v1/sessions', { email: leaver.email, password: leaver.password }, { Authorization: '' }), 401, 'unauthenticated');
    const stays = granted(await owner.get(`/v1/tasks/${task.id}`));
    assert.deepEqual([stays.title, stays.assignee, stays.created_by], ['Staysword', null, leaver.account]);
    assert.ok(!granted(await owner.get(path(list, '/members'))).items.some((member) => member.account === leaver.account));
    await waitFor(async () => (await bench.cluster.value('SELECT count(*) FROM erasure')) === '0', 'all is purged', 30_000);
    for (const word of ['Leavername', leaver.email, 'Owntask', 'Ownlist', 'Formertask', 'Formerlist', 'Programname']) {
      assert.equal(await isStored(word), false, word);
    }
    granted(await new Client(leaver.url).post('/v1/accounts', { email: leaver.email, password: leaver.password, time_zone: 'UTC' }), 201);
    await isAudited();
    assert.equal((await verify()).code, 0);
  });

  it('who alone owns a shared list is not erased, and keeps everything', async () => {
    const holder = await Client.register(bench.taskwire.url);
    const list = await holder.list('Held');
    const alone = await holder.list('Alone');
    granted(await holder.post(path(list, '/members'), { email: editor.email, role: 'viewer' }), 201);
    refused(await holder.delete('/v1/me'), 409, 'conflict');
    granted(await holder.get(path(alone)));
    granted(await holder.patch(`/v1/lists/${list.id}/members/${editor.account}`, { role: 'owner' }));
    assert.equal((await holder.delete('/v1/me')).status, 204);
    assert.equal(granted(await editor.get(path(list))).role, 'owner');
  });

  it('purging something that is not there, or nothing, is refused', async () => {
    for (const kind of ['--stream', '--task', '--account']) {
      assert.equal((await run('purge', kind, uuid())).code, 1);
      assert.equal((await run('purge', kind, 'nonsense')).code, 64);
    }
    assert.equal((await run('purge')).code, 64);
    assert.equal((await run('purge', '--task', uuid(), '--stream', uuid())).code, 64);
    assert.equal((await run('verify', '--task', uuid())).code, 64);
  });

  it('all actors go over a purged log from its beginning', async () => {
    await bench.taskwire.stop();
    await bench.cluster.query("DELETE FROM relay_position");
    await bench.taskwire.start();
    const list = await owner.list();
    const at = new Date(Date.now() + 1000).toISOString();
    await owner.task(list.id, { reminders: [{ at, for: 'all' }] });
    await waitFor(async () => granted(await owner.get(path(list, '/events'))).items.some((event) => event.type === 'reminder.due'), 'a reminder', 20_000);
    await isAudited();
    assert.equal(await bench.cluster.value('SELECT count(*) FROM dead_letter'), '0');
    assert.equal((await verify()).code, 0);
  });
});
