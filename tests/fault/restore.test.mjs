// SPDX-License-Identifier: Apache-2.0
// The database is put back to an older backup, a dump or a copied data directory, or a standby takes its place that had
// not got everything, while clients hold what it has lost: a new epoch begins, whoever followed ends with what the
// database has, and nothing stays stuck.
import { describe, it, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cpSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Bench, Cluster, command as runCommand, root } from '../lib/program.mjs';
import { Client } from '../lib/client.mjs';
import { Follower } from '../lib/follower.mjs';
import { granted, refused } from '../lib/expect.mjs';
import { waitFor } from '../lib/wait.mjs';

const run = promisify(execFile);
const shell = async (script, ...args) => (await run('bash', ['-c', `. "${root}/deploy/lib/postgres.sh"; ${script}`, 'bash', ...args])).stdout.trim();

// Somebody's work in one bench, and how the past of its database comes back.
class World {
  async start(nProcesses = 1, hasStandby = false) {
    this.bench = await Bench.start({ start: false });
    if (hasStandby) this.bench.databaseUrl = await this.eitherUrl();
    this.bench.taskwire = await this.bench.program({ ANCHOR_INTERVAL: 1 }).start();
    while (this.bench.programs.length < nProcesses) await this.bench.program({ ANCHOR_INTERVAL: 1 }).start();
    this.programs = this.bench.programs;
    this.me = await Client.register(this.bench.taskwire.url);
    this.list = await this.me.list();
    this.task = await this.me.task(this.list.id, { title: 'Before', due: '2030-01-01', recurrence: { rule: 'daily' } });
    this.followers = this.programs.map((program) => new Follower(program.url, this.me.token, [this.list.id]));
    await waitFor(() => this.followers.every((f) => f.streams.get(this.list.id).rev >= 2), 'all follow');
    await this.atRest();
  }

  async stop() {
    for (const follower of this.followers ?? []) follower.stop();
    await this.bench?.stop();
  }

  value(sql) { return this.bench.cluster.value(sql); }

  get(path) { return this.me.get(path); }

  // Everything is handled by every actor and audited.
  async atRest() {
    await waitFor(async () => (await this.value(`SELECT count(*) FROM (SELECT shard, max(id) AS top FROM event GROUP BY shard) e
      CROSS JOIN (VALUES ('recurrence'), ('reminder'), ('audit')) a(actor) LEFT JOIN relay_position p ON p.actor = a.actor AND p.shard = e.shard
      WHERE p.id IS DISTINCT FROM e.top`)) === '0', 'every event is handled by every actor', 60_000);
    await waitFor(async () => (await this.value(`SELECT count(*) FROM stream s LEFT JOIN audit_head h ON h.stream = s.id
      WHERE h.rev IS DISTINCT FROM s.head`)) === '0', 'every event is audited', 60_000);
  }

  // What will be lost: changes of old and new tasks, a reminder that fires, lists, a token.
  async future() {
    const { me, list } = this;
    granted(await me.post(`/v1/tasks/${this.task.id}/complete`, {}));
    this.etag = (await me.get(`/v1/tasks/${this.task.id}`)).headers.get('etag');
    for (let i = 0; i < 10; i++) await me.task(list.id, { title: `Lost ${i}` });
    for (let i = 0; i < 10; i++) await me.task((await me.list()).id, { title: `Lost list ${i}` });
    this.token = granted(await me.post('/v1/tokens', { name: 'lost', scopes: ['read'] }), 201).token;
    this.socket = await new Client(me.url, this.token).socket();
    await waitFor(async () => (await this.value('SELECT count(*) FROM event WHERE type = 11')) === '1', 'the reminder has fired', 30_000);
    await this.atRest();
    this.head = Number(await this.value(`SELECT head FROM stream WHERE id = '${list.id}'`));
    await waitFor(() => this.followers.every((f) => f.streams.get(list.id).rev === this.head), 'the followers have seen it all');
    this.epoch = (await me.get(`/v1/lists/${list.id}/events`)).body.epoch;
  }

  // The task whose reminder is due in the time that will be lost.
  async setReminder() {
    this.reminded = await this.me.task(this.list.id, { title: 'Remind', reminders: [{ at: new Date(Date.now() + 2500).toISOString(), for: 'all' }] });
    await waitFor(async () => (await this.value(`SELECT count(*) FROM reminder WHERE task = '${this.reminded.id}'`)) === '1', 'the reminder is known');
    await this.atRest();
  }

  async anchored() {
    await waitFor(() => readFileSync(join(this.bench.taskwire.dir, 'data/anchors'), 'utf8').includes(`${this.list.id} ${this.head} `),
      'the head that will be lost is anchored');
  }

  // After the restore: a new epoch, and all of it works.
  async check() {
    const { me, list } = this;
    await waitFor(async () => {
      const answer = await me.get(`/v1/lists/${list.id}/events`).catch(() => null);
      return answer?.status === 200 && answer.body.epoch !== this.epoch;
    }, 'a new epoch has begun', 60_000);
    assert.equal(await this.value(`SELECT count(*) FROM past_epoch WHERE epoch = '${this.epoch}'`), '1');
    refused(await me.get(`/v1/lists/${list.id}/events?after=1&epoch=${this.epoch}`), 410, 'resync_required');
    refused(await me.patch(`/v1/tasks/${this.task.id}`, { title: 'Over' }, { 'If-Match': this.etag }), 412, 'precondition_failed');

    // As many events as were lost, and more: their ids and revs were given out before.
    const task = granted(await me.get(`/v1/tasks/${this.task.id}`));
    assert.equal(task.status, 'open', 'what was lost is lost');
    granted(await me.post(`/v1/tasks/${this.task.id}/complete`, {}));
    for (let i = 0; i < 20; i++) await me.task(list.id, { title: `New ${i}` });
    const soon = await me.task(list.id, { title: 'Soon', reminders: [{ at: new Date(Date.now() + 1500).toISOString(), for: 'all' }] });
    const firings = (t) => this.value(`SELECT count(*) FROM event WHERE task = '${t.id}' AND type = 11`);
    await waitFor(async () => (await this.value(`SELECT count(*) FROM task WHERE series = '${this.task.id}' AND occurrence = 2`)) === '1',
      'the successor is made', 30_000);
    await waitFor(async () => (await firings(soon)) === '1', 'a reminder fires', 30_000);
    await waitFor(async () => (await firings(this.reminded)) === '1', 'the reminder that had fired in the lost time fires again', 30_000);
    await this.atRest();
    await waitFor(() => this.socket.closed, 'the socket of a token that is not there any more is closed', 30_000);

    const head = Number(await this.value(`SELECT head FROM stream WHERE id = '${list.id}'`));
    await waitFor(() => this.followers.every((f) => f.streams.get(list.id).rev === head), 'all followers are at the head', 30_000);
    const stored = new Map(granted(await me.get(
      `/v1/lists/${list.id}/tasks?limit=500&status=open&status=in_progress&status=done&status=cancelled`)).items.map((t) => [t.id, t]));
    for (const follower of this.followers) {
      assert.deepEqual(follower.faults.filter((fault) => !/goes back/.test(fault)), []);
      assert.deepEqual(new Map([...follower.streams.get(list.id).tasks].sort()), new Map([...stored].sort()), 'a follower has what the database has');
    }
    assert.equal(await this.value(`SELECT count(*) FROM event e WHERE stream = '${list.id}' AND rev > ${head}`), '0');
    assert.equal(await this.value('SELECT count(*) FROM (SELECT id FROM event GROUP BY id HAVING count(*) > 1) d'), '0');
    assert.equal(await this.value('SELECT count(*) FROM dead_letter'), '0');
    assert.equal(await this.value(`SELECT count(*) FROM past_epoch`), '1', 'one restore is one epoch');
    const verified = await runCommand(['verify'], this.bench.taskwire.environment());
    assert.equal(verified.code, 0, verified.stdout + verified.stderr);
  }

  // A copy of the data directory, with the server stopped for the moment.
  async copy() {
    const { cluster, dir } = this.bench;
    await cluster.stop();
    cpSync(join(dir, 'pg'), join(dir, 'copy'), { recursive: true, preserveTimestamps: true, filter: (path) => !/\.s\.PGSQL/.test(path) });
    await shell('chown -R "$(stat -c %U:%G "$1")" "$2"', join(dir, 'pg'), join(dir, 'copy'));
    await cluster.start();
    await waitFor(async () => (await this.get('/readyz').catch(() => null))?.status === 200, 'taskwire is ready again', 30_000);
  }

  async swapIn(name) {
    const { cluster, dir } = this.bench;
    await cluster.stop('immediate');
    renameSync(join(dir, 'pg'), join(dir, 'lost'));
    renameSync(join(dir, name), join(dir, 'pg'));
    await cluster.start();
  }

  async dump() {
    await shell('pg_as "$(pg_bin)/pg_dump" -Fc -d "$1" >"$2"', await this.bench.cluster.url('taskwire'), join(this.bench.dir, 'dump'));
  }

  // A new cluster with the dump in it.
  async restoreInto(name) {
    const dir = join(this.bench.dir, name);
    const cluster = await Cluster.start(dir);
    await cluster.query('CREATE ROLE taskwire LOGIN CREATEROLE', 'postgres');
    await cluster.query('CREATE ROLE taskwire_log', 'postgres');
    await cluster.query('CREATE DATABASE taskwire OWNER taskwire', 'postgres');
    await shell('pg_as "$(pg_bin)/pg_restore" --exit-on-error -d "$1" <"$2"', await cluster.url('taskwire'), join(this.bench.dir, 'dump'));
    await cluster.stop();
  }

  // Of the server that takes writes, whichever that is: it, or the standby.
  async eitherUrl() {
    const hosts = [join(this.bench.dir, 'pg'), join(this.bench.dir, 'standby')].map(encodeURIComponent).join(',');
    return `postgresql://taskwire@/taskwire?host=${hosts}&port=5432,5432&target_session_attrs=read-write`;
  }

  // Another server that follows this one.
  async addStandby() {
    const { cluster, dir } = this.bench;
    await shell('mkdir -m 700 "$2" && { [ "$(id -u)" -ne 0 ] || chown "$(pg_account):" "$2"; } && ' +
      'pg_as "$(pg_bin)/pg_basebackup" -d "$1" -D "$2/data" -R -X stream -c fast && touch "$2/made"', await cluster.url(), join(dir, 'standby'));
    this.standby = await Cluster.start(join(dir, 'standby'));
    assert.equal(await this.standby.value('SELECT pg_is_in_recovery()', 'postgres'), 't');
    const task = await this.me.task(this.list.id, { title: 'For both' });
    await waitFor(async () => (await this.standby.value(`SELECT count(*) FROM task WHERE id = '${task.id}'`)) === '1', 'the standby follows', 30_000);
  }

  async promote() {
    await this.bench.cluster.kill();
    await this.standby.start();
    await shell('pg_as "$(pg_bin)/pg_ctl" -D "$1/data" -w promote >/dev/null', this.standby.dir);
    this.bench.cluster = this.standby;
  }

  async stopPrograms() {
    for (const program of this.programs) assert.equal((await program.stop()).code, 0);
  }

  async startPrograms() {
    for (const program of this.programs) await program.start();
  }
}

for (const [what, save, bring] of [
  ['a copied data directory', (world) => world.copy(), (world) => world.swapIn('copy')],
  ['a dump restored into a new cluster', (world) => world.dump(), async (world) => {
    await world.restoreInto('restored');
    await world.swapIn('restored');
  }],
]) {
  describe(`${what}, put back`, () => {
    let world;
    before(() => { world = new World(); });
    after(() => world?.stop());

    it('under a running taskwire', { timeout: 180_000 }, async () => {
      await world.start();
      await world.setReminder();
      await save(world);
      await world.future();
      await bring(world);
      await world.check();
    });
  });

  describe(`${what}, put back`, () => {
    let world;
    before(() => { world = new World(); });
    after(() => world?.stop());

    it('while taskwire was stopped', { timeout: 180_000 }, async () => {
      await world.start();
      await world.setReminder();
      await save(world);
      await world.future();
      await world.anchored();
      await world.stopPrograms();
      await bring(world);
      await world.startPrograms();
      await world.check();
      await world.stopPrograms();
      await world.startPrograms();
      assert.equal(await world.value('SELECT count(*) FROM past_epoch'), '1', 'another start is no other epoch');
    });
  });
}

describe('a copied data directory, put back under two running processes', () => {
  let world;
  before(() => { world = new World(); });
  after(() => world?.stop());

  it('begins one new epoch, for the clients of both', { timeout: 180_000 }, async () => {
    await world.start(2);
    await world.setReminder();
    await world.copy();
    await world.future();
    await world.swapIn('copy');
    await world.check();
  });
});

describe('a standby that had not got everything, promoted', () => {
  let world;
  before(() => { world = new World(); });
  after(() => world?.stop());

  it('begins a new epoch on its new timeline, and both processes go on with it', { timeout: 180_000 }, async () => {
    await world.start(2, true);
    await world.setReminder();
    await world.addStandby();
    await world.standby.stop();
    await world.future();
    const timeline = await world.value('SELECT timeline FROM log_epoch');
    await world.promote();
    await world.check();
    assert.notEqual(await world.value('SELECT timeline FROM log_epoch'), timeline);
  });
});

describe('a database that stays what it is', () => {
  let world;
  before(() => {
    world = new World();
    return world.start();
  });
  after(() => world?.stop());

  it('keeps its epoch over crashes of itself and of taskwire', { timeout: 120_000 }, async () => {
    for (let i = 0; i < 3; i++) {
      await world.me.task(world.list.id);
      await world.bench.cluster.kill();
      await world.bench.cluster.start();
      await waitFor(async () => (await world.get('/readyz').catch(() => null))?.status === 200, 'taskwire is ready again', 30_000);
      await world.me.task(world.list.id);
      await world.bench.taskwire.kill();
      await world.bench.taskwire.start();
    }
    assert.equal(await world.value('SELECT count(*) FROM past_epoch'), '0');
  });

  it('follows an epoch that somebody else began, with every session as it was', async () => {
    await world.value("INSERT INTO past_epoch (epoch, reason) SELECT epoch, 'a test' FROM log_epoch");
    await world.value("UPDATE log_epoch SET epoch = '0123456789abcdef'");
    const task = await world.me.task(world.list.id, { due: '2030-01-01', recurrence: { rule: 'daily' } });
    granted(await world.me.post(`/v1/tasks/${task.id}/complete`, {}));
    await waitFor(async () => (await world.value(`SELECT count(*) FROM task WHERE series = '${task.id}' AND occurrence = 2`)) === '1', 'the successor is made');
    await world.atRest();
    await waitFor(() => world.followers[0].streams.get(world.list.id).epoch === '0123456789abcdef', 'the follower has taken a snapshot of it');
    assert.equal(await world.value('SELECT count(*) FROM past_epoch'), '1');
  });

  it('gets a new one where a standby was promoted, which is another timeline', async () => {
    const before = Number(await world.value('SELECT count(*) FROM past_epoch'));
    await world.value("UPDATE log_epoch SET timeline = '000000FF'");
    await world.value("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'taskwire%'");
    await waitFor(async () => (await world.value('SELECT count(*) FROM past_epoch')) === `${before + 1}`, 'a new epoch has begun');
    const list = world.list.id;
    await waitFor(async () => (await world.me.post(`/v1/lists/${list}/tasks`, { title: 'T' })).status === 201, 'it goes on');
    const head = Number(await world.value(`SELECT head FROM stream WHERE id = '${list}'`));
    await waitFor(() => world.followers[0].streams.get(list).rev >= head, 'the follower has it');
    assert.equal(world.followers[0].streams.get(list).epoch, await world.value('SELECT epoch FROM log_epoch'));
  });
});
