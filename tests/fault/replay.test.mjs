// SPDX-License-Identifier: Apache-2.0
// What the log brings about happens in spite of actors that cannot store for a while or die in the middle, and happens
// once however often the log is handled.
import { describe, it, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { Bench, command as runCommand } from '../lib/program.mjs';
import { Client } from '../lib/client.mjs';
import { granted } from '../lib/expect.mjs';
import { Hold } from '../lib/hold.mjs';
import { waitFor } from '../lib/wait.mjs';

describe('what the log brings about', () => {
  let bench;
  let me;

  const value = (sql) => bench.cluster.value(sql);
  const number = async (sql) => Number(await value(sql));
  const position = (actor, stream) => number(`SELECT coalesce(max(id), 0) FROM relay_position WHERE actor = '${actor}'
    AND shard = (SELECT shard FROM event WHERE stream = '${stream}' LIMIT 1)`);
  const lastId = (stream) => number(`SELECT max(id) FROM event WHERE stream = '${stream}'`);
  const audited = (stream) => number(`SELECT max(rev) FROM audit_head WHERE stream = '${stream}'`);
  const isPassed = (actor, stream, id) => waitFor(async () => (await position(actor, stream)) >= id, `${actor} has handled event ${id}`);

  // Nothing is left to handle.
  const settled = () => waitFor(async () => (await value(`SELECT count(*) FROM (SELECT shard, max(id) AS top FROM event GROUP BY shard) e
    CROSS JOIN (VALUES ('recurrence'), ('reminder'), ('audit')) a(actor) LEFT JOIN relay_position p ON p.actor = a.actor AND p.shard = e.shard
    WHERE p.id IS DISTINCT FROM e.top`)) === '0', 'every event is handled by every actor');

  async function verify() {
    const verified = await runCommand(['verify'], bench.taskwire.environment());
    assert.equal(verified.code, 0, verified.stdout + verified.stderr);
  }

  // The chain of the list cannot grow as long as this is held.
  const holdChain = (list) => Hold.of(bench.cluster, `SELECT * FROM audit_head WHERE stream = '${list.id}' FOR UPDATE`);

  async function auditedList() {
    const list = await me.list();
    await waitFor(async () => (await audited(list.id)) === 1, 'the list is audited');
    return list;
  }

  before(async () => {
    bench = await Bench.start();
    me = await Client.register(bench.taskwire.url);
  });
  after(() => bench?.stop());

  it('an event that an actor had not handled when the process died is given to it again', async (t) => {
    const list = await auditedList();
    const hold = await holdChain(list);
    t.after(() => hold.release());
    await me.task(list.id);
    const id = await lastId(list.id);
    await hold.untilWaited();
    await isPassed('recurrence', list.id, id);
    assert.ok((await position('audit', list.id)) < id, 'its position is not ahead of what it has stored');
    await bench.taskwire.kill();
    await hold.endWaiters();
    await hold.release();
    await bench.taskwire.start();
    await waitFor(async () => (await audited(list.id)) === 2, 'the event is audited');
    await verify();
  });

  it('a successor that was not made yet when the process died is made afterwards', async (t) => {
    const list = await me.list();
    const task = await me.task(list.id, { due: '2030-01-01', recurrence: { rule: 'daily' } });
    const hold = await Hold.of(bench.cluster, 'SELECT pg_advisory_lock(1)');
    t.after(() => hold.release());
    await value(`CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NEW; END $$;
      CREATE TRIGGER wait BEFORE INSERT ON task FOR EACH ROW WHEN (NEW.occurrence = 2) EXECUTE FUNCTION wait()`);
    granted(await me.post(`/v1/tasks/${task.id}/complete`));
    const id = await lastId(list.id);
    await hold.untilWaited();
    await isPassed('audit', list.id, id);
    assert.ok((await position('recurrence', list.id)) < id, 'its position is not ahead of what it has done');
    await bench.taskwire.kill();
    await hold.endWaiters();
    await hold.release();
    await value('DROP TRIGGER wait ON task');
    await bench.taskwire.start();
    await waitFor(async () => (await value(`SELECT count(*) FROM task WHERE series = '${task.id}'`)) === '2', 'there is a successor');
  });

  it('what an actor could not store it stores when it can', async (t) => {
    const list = await auditedList();
    const hold = await holdChain(list);
    t.after(() => hold.release());
    await me.task(list.id);
    const blocked = () => value(`SELECT pid FROM pg_stat_activity WHERE ${hold.pid} = ANY (pg_blocking_pids(pid))`);
    const session = await waitFor(blocked, 'the audit waits');
    await value(`SELECT pg_terminate_backend(${session})`);
    await waitFor(async () => ![undefined, session].includes(await blocked()), 'the audit waits again');
    await hold.release();
    await waitFor(async () => (await audited(list.id)) === 2, 'the event is audited');
  });

  const firings = (task) => value(`SELECT count(*) FROM event WHERE task = '${task.id}' AND type = 11`);
  const remindSoon = () => ({ reminders: [{ at: new Date(Date.now() + 400).toISOString() }] });

  it('a reminder whose firing was not noted fires no second time', async () => {
    const list = await me.list();
    const task = await me.task(list.id, remindSoon());
    const stateIs = (state) => waitFor(async () => (await value(`SELECT state FROM reminder WHERE task = '${task.id}'`)) === state, `state ${state}`);
    await stateIs('1');
    await settled();
    const before = await bench.taskwire.metric('taskwire_commands_total');
    await value(`UPDATE reminder SET state = 0, fired_at = NULL WHERE task = '${task.id}'`);
    await waitFor(async () => (await bench.taskwire.metric('taskwire_commands_total')) > before, 'it is fired again');
    assert.equal(await firings(task), '1');
    await value(`UPDATE reminder SET state = 1, fired_at = now() WHERE task = '${task.id}'`);
  });

  it('the whole log again, from its beginning, changes nothing', async () => {
    const list = await me.list();
    const recurring = await me.task(list.id, { due: '2030-01-01', recurrence: { rule: 'daily' } });
    const reminded = await me.task(list.id, remindSoon());
    granted(await me.post(`/v1/tasks/${recurring.id}/complete`));
    await waitFor(async () => (await firings(reminded)) === '1', 'the reminder fires');
    await waitFor(async () => (await value(`SELECT count(*) FROM task WHERE series = '${recurring.id}'`)) === '2', 'there is a successor');
    await settled();
    const everything = () => bench.cluster.query(`SELECT 'task', id::text, rev FROM task UNION ALL SELECT 'event', stream::text, rev FROM event
      UNION ALL SELECT 'chain', stream::text, rev FROM audit_head UNION ALL SELECT 'row', stream::text, last_rev FROM audit
      UNION ALL SELECT 'reminder', task::text, state FROM reminder ORDER BY 1, 2, 3`);
    const before = await everything();
    assert.equal((await bench.taskwire.stop()).code, 0);
    await value('DELETE FROM relay_position');
    await bench.taskwire.start();
    await settled();
    assert.deepEqual(await everything(), before);
    assert.equal(await value('SELECT count(*) FROM dead_letter'), '0');
    await verify();
  });

  it('an event that an actor cannot read becomes a dead letter, even if that cannot be stored at once', async (t) => {
    const stream = `00000000-0000-7000-8000-${randomBytes(6).toString('hex')}`;
    t.after(() => value('ALTER TABLE IF EXISTS dead_letter_away RENAME TO dead_letter'));
    await value('ALTER TABLE dead_letter RENAME TO dead_letter_away');
    await value(`INSERT INTO event (shard, stream, rev, type, task, command, by, is_answer, at, epoch, digest, salt, body)
      SELECT 7, '${stream}', 1, 2, gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), false, now(), epoch,
        decode(repeat('00', 32), 'hex'), decode(repeat('00', 16), 'hex'), 'nonsense' FROM log_epoch`);
    const id = await lastId(stream);
    await isPassed('recurrence', stream, id);
    assert.ok((await position('reminder', stream)) < id, 'the event is not done with');
    await value('ALTER TABLE dead_letter_away RENAME TO dead_letter');
    await waitFor(async () => (await value(`SELECT count(*) FROM dead_letter WHERE actor = 'reminder' AND event_id = ${id}`)) === '1',
      'the dead letter is there');
    await isPassed('reminder', stream, id);
  });
});
