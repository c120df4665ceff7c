// SPDX-License-Identifier: Apache-2.0
// Several processes on one database: each one's clients see what the others write, at once; what the log brings about
// happens once; access that ends, ends everywhere; and when the leading one dies another leads.
import { describe, it, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { Bench, command as runCommand } from '../lib/program.mjs';
import { Client } from '../lib/client.mjs';
import { Follower } from '../lib/follower.mjs';
import { granted } from '../lib/expect.mjs';
import { waitFor } from '../lib/wait.mjs';

// What polling needs at least for a change that comes right after the last one was seen: see POLL_US in actors/sync.c.
const POLL_MS = 500;

describe('two processes on one database', () => {
  let bench;
  let a;
  let b;
  let me;

  const value = (sql) => bench.cluster.value(sql);
  const at = (program, client = me) => new Client(program.url, client.token);

  before(async () => {
    bench = await Bench.start();
    a = bench.taskwire;
    b = await bench.program().start();
    me = await Client.register(a.url);
  });
  after(() => bench?.stop());

  // Makes changes by one process, each when a socket of the other has shown the one before; answers milliseconds.
  async function inTurn(list, n) {
    const socket = await at(b).socket();
    await socket.subscribe(list.id);
    const started = performance.now();
    for (let i = 0; i < n; i++) {
      const task = await at(a).task(list.id, { title: `Task ${i}` });
      await socket.find((m) => m.op === 'event' && m.task === task.id, 'the event at the other process');
    }
    const ms = performance.now() - started;
    await socket.close();
    return ms;
  }

  it('a change by one is seen by the clients of the other long before it would poll', async (t) => {
    const n = 20;
    const received = await b.metric('taskwire_peer_notices_received_total');
    const ms = await inTurn(await me.list(), n);
    t.diagnostic(`${n} changes in ${ms.toFixed(0)} ms; polling takes ${n * POLL_MS} ms`);
    assert.ok(ms < (n * POLL_MS) / 2, `polling alone takes about ${n * POLL_MS} ms; this took ${ms} ms`);
    assert.ok((await b.metric('taskwire_peer_notices_received_total')) >= received + n, 'each was told of');
  });

  it('many changes at once are told of by few notices, and not to oneself', async () => {
    const lists = await Promise.all(Array.from({ length: 8 }, () => me.list()));
    const sent = await a.metric('taskwire_peer_notices_sent_total');
    const started = performance.now();
    await Promise.all(lists.flatMap((list) => Array.from({ length: 25 }, () => at(a).task(list.id))));
    const ms = performance.now() - started;
    const n = (await a.metric('taskwire_peer_notices_sent_total')) - sent;
    assert.ok(n >= 1 && n <= 2 + ms / 20, `${n} notices in ${ms} ms`);
    assert.equal(await a.metric('taskwire_peer_notices_received_total'), await b.metric('taskwire_peer_notices_sent_total'),
      'none of its own counts as received');
  });

  it('where nobody can be notified polling still brings every change', async (t) => {
    t.after(() => value('GRANT EXECUTE ON FUNCTION pg_catalog.pg_notify(text, text) TO PUBLIC'));
    await value('REVOKE EXECUTE ON FUNCTION pg_catalog.pg_notify(text, text) FROM PUBLIC');
    const received = await b.metric('taskwire_peer_notices_received_total');
    await inTurn(await me.list(), 3);
    assert.equal(await b.metric('taskwire_peer_notices_received_total'), received);
    assert.match(a.log, /cannot tell other processes/);
    await value('GRANT EXECUTE ON FUNCTION pg_catalog.pg_notify(text, text) TO PUBLIC');
    await waitFor(async () => (await b.metric('taskwire_peer_notices_received_total')) > received, 'what was not told is told');
  });

  it('a session that was ended listens again', async () => {
    const sessions = () => value(`SELECT count(*) FROM pg_stat_activity WHERE application_name = 'taskwire peers'`);
    await waitFor(async () => (await sessions()) === '2', 'both listen');
    await value(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'taskwire peers'`);
    await waitFor(async () => (await sessions()) === '2', 'both are back');
    const received = await b.metric('taskwire_peer_notices_received_total');
    const list = await me.list();
    await waitFor(async () => {
      await me.task(list.id);
      return (await b.metric('taskwire_peer_notices_received_total')) > received;
    }, 'notices arrive again');
  });

  it('a frozen process does not keep the server from forgetting notices', async () => {
    b.signal('SIGSTOP');
    try {
      await waitFor(async () => (await value(`SELECT count(*) FROM pg_stat_activity WHERE application_name = 'taskwire peers'`)) === '1',
        'its session has ended');
    } finally {
      b.signal('SIGCONT');
    }
  });

  describe('access that ends at one process', () => {
    const everywhere = (token) => Promise.all([a, b].map((program) => new Client(program.url, token).socket()));
    const closes = (sockets) => Promise.all(sockets.map((socket) => waitFor(() => socket.closed?.code === 4001, 'the socket is closed with 4001')));
    const refused = (token) => Promise.all([a, b].map((program) => waitFor(async () =>
      (await new Client(program.url, token).get('/v1/lists')).status === 401, 'the token is refused')));

    it('ends for a deleted token on both', async () => {
      const made = granted(await me.post('/v1/tokens', { name: 'robot', scopes: ['read', 'write'] }), 201);
      const sockets = await everywhere(made.token);
      granted(await at(a).delete(`/v1/tokens/${made.id}`), 204);
      await closes(sockets);
      await refused(made.token);
    });

    it('ends for a session that is logged out on both', async () => {
      const login = granted(await at(b).post('/v1/sessions', { email: me.email, password: me.password }), 201);
      const sockets = await everywhere(login.token);
      granted(await new Client(b.url, login.token).delete('/v1/sessions/current'), 204);
      await closes(sockets);
      await refused(login.token);
    });

    it('ends for a removed member on both', async () => {
      const her = await Client.register(b.url);
      const list = await me.list();
      granted(await me.post(`/v1/lists/${list.id}/members`, { email: her.email, role: 'editor' }), 201);
      const sockets = await everywhere(her.token);
      for (const socket of sockets) assert.equal((await socket.subscribe(list.id)).op, 'snapshot');
      granted(await at(a).delete(`/v1/lists/${list.id}/members/${her.account}`), 204);
      await Promise.all(sockets.map((socket) => socket.find((m) => m.op === 'removed' && m.stream === list.id, 'that access has ended')));
      const after = await me.task(list.id);
      for (const program of [a, b]) assert.equal((await at(program, her).get(`/v1/lists/${list.id}`)).status, 404);
      for (const socket of sockets) {
        assert.ok(!socket.events(list.id).some((event) => event.task === after.id), 'nothing of it comes any more');
        await socket.close();
      }
    });

    it('ends for all other logins on both when the password is changed', async () => {
      const her = await Client.register(a.url);
      const login = granted(await at(b, her).post('/v1/sessions', { email: her.email, password: her.password }), 201);
      const sockets = await everywhere(login.token);
      granted(await at(a, her).patch('/v1/me', { password: 'another good password', old_password: her.password }));
      await closes(sockets);
      await refused(login.token);
    });
  });

  it('effects of the log happen once, and clients of both end with what the database has', async () => {
    const list = await me.list();
    const followers = [a, b].map((program) => new Follower(program.url, me.token, [list.id]));
    try {
      await waitFor(() => followers.every((f) => f.isReady), 'both follow');
      const n = 30;
      const tasks = await Promise.all(Array.from({ length: n }, (_, i) => at(i % 2 ? a : b).task(list.id, {
        due: '2030-01-01', recurrence: { rule: 'daily' },
        reminders: [{ at: new Date(Date.now() + 1500).toISOString(), for: 'all' }],
      })));
      await waitFor(async () => (await value(`SELECT count(*) FROM event WHERE stream = '${list.id}' AND type = 11`)) === String(n), 'all reminders fire');
      await Promise.all(tasks.map((task, i) => at(i % 2 ? b : a).post(`/v1/tasks/${task.id}/complete`, {})));
      await waitFor(async () => (await value(`SELECT count(*) FROM task WHERE list = '${list.id}' AND occurrence = 2`)) === String(n), 'all successors are made');
      await waitFor(async () => (await value(`SELECT s.head = h.rev FROM stream s JOIN audit_head h ON h.stream = s.id WHERE s.id = '${list.id}'`)) === 't', 'all is audited');
      const head = Number(await value(`SELECT head FROM stream WHERE id = '${list.id}'`));
      await waitFor(() => followers.every((f) => f.streams.get(list.id).rev === head), 'both followers are at the head');
      assert.deepEqual(followers.flatMap((f) => f.faults), []);
      const live = (f) => [...f.streams.get(list.id).tasks.values()].sort((x, y) => (x.id < y.id ? -1 : 1));
      assert.deepEqual(live(followers[0]), live(followers[1]));
      assert.equal(await value(`SELECT count(*) FROM event WHERE stream = '${list.id}'`), String(head));
      assert.equal(await value(`SELECT count(*) FROM event WHERE stream = '${list.id}' AND type = 11`), String(n), 'each reminder fired once');
      assert.equal(await value('SELECT count(*) FROM dead_letter'), '0');
      const verified = await runCommand(['verify'], a.environment());
      assert.equal(verified.code, 0, verified.stdout + verified.stderr);
    } finally {
      for (const follower of followers) follower.stop();
    }
  });
});

describe('three processes on one database', () => {
  let bench;
  let programs;
  let me;
  let list;

  before(async () => {
    bench = await Bench.start();
    programs = [bench.taskwire, await bench.program().start(), await bench.program().start()];
    me = await Client.register(bench.taskwire.url);
    list = await me.list();
  });
  after(() => bench?.stop());

  const leading = async (among) => {
    const leads = await Promise.all(among.map((program) => program.metric('taskwire_relay_leading')));
    return among.filter((_, i) => leads[i] === 1);
  };
  const onlyLeader = async (among) => waitFor(async () => {
    const leaders = await leading(among);
    return leaders.length === 1 && leaders[0];
  }, 'exactly one leads');

  // A recurring task is closed by a process that lives: its successor needs a relay that leads.
  async function effectBy(program) {
    const client = new Client(program.url, me.token);
    const task = await client.task(list.id, { due: '2030-01-01', recurrence: { rule: 'daily' } });
    granted(await client.post(`/v1/tasks/${task.id}/complete`, {}));
    await waitFor(async () => (await bench.cluster.value(`SELECT count(*) FROM task WHERE series = '${task.id}' AND occurrence = 2`)) === '1',
      'there is a successor');
  }

  it('another one leads soon after the leading one is killed', async (t) => {
    const leader = await onlyLeader(programs);
    const rest = programs.filter((program) => program !== leader);
    await leader.kill();
    const died = performance.now();
    await onlyLeader(rest);
    const ms = performance.now() - died;
    t.diagnostic(`taken over after ${ms.toFixed(0)} ms`);
    assert.ok(ms < 2000, `within two seconds; it was ${ms} ms`);
    await effectBy(rest[0]);
    await leader.start();
    await onlyLeader(programs);
  });

  it('another one leads soon after the leading one is frozen', async (t) => {
    const leader = await onlyLeader(programs);
    const rest = programs.filter((program) => program !== leader);
    leader.signal('SIGSTOP');
    const froze = performance.now();
    try {
      await onlyLeader(rest);
      const ms = performance.now() - froze;
      t.diagnostic(`taken over after ${ms.toFixed(0)} ms`);
      assert.ok(ms < 3000, `a second and a half, and a ping; it was ${ms} ms`);
      await effectBy(rest[1]);
    } finally {
      leader.signal('SIGCONT');
    }
    await waitFor(async () => (await leader.metric('taskwire_relay_leading')) === 0, 'the former leader stands by');
    await onlyLeader(programs);
  });
});
