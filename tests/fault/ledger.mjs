// SPDX-License-Identifier: Apache-2.0
// The ledger: many clients change many lists while taskwire and PostgreSQL are killed at random. Each client writes down
// what it asked and what it was answered. Afterwards the database is held against the ledgers: every acknowledged command
// is there exactly once, no other more than once, no revision is missing, every follower has what the database has, every
// closed occurrence has one successor, every reminder fired once and not early, what was dismissed stays so, the audit
// verifies.
//
//   node tests/fault/ledger.mjs --clients 20 --commands 100000 --kills 20 --processes 2 --seed 1
//
// With several processes on the database the clients are dealt out to them, and a kill hits any of them. In Kafka mode the
// topics are read from outside, and held against the database as well.
import assert from 'node:assert/strict';
import { parseArgs } from 'node:util';
import { Bench, command as runCommand } from '../lib/program.mjs';
import { Client, MSGPACK, uuid } from '../lib/client.mjs';
import { FeedFollower, Follower } from '../lib/follower.mjs';
import { checkEvents, checkReminders, checkUpdates, eventsOf, everyEventIsIn, follow, tasksOf } from '../lib/topics.mjs';
import { random, waitFor } from '../lib/wait.mjs';

const REFUSED_FOR_GOOD = new Set(['not_found', 'forbidden', 'conflict', 'exists', 'precondition_failed', 'invalid']);

// One client: its account, its follower, and what it did.
class Author {
  constructor(client, follower, lists, dice, remindMs) {
    Object.assign(this, { client, follower, lists, dice, remindMs });
    this.ledger = [];
    this.own = [];
    this.known = new Map(lists.map((list) => [list, []]));
  }

  fields() {
    const { dice } = this;
    const fields = { title: `Task ${dice.below(1e9)}` };
    if (dice.chance(0.3)) fields.priority = dice.pick(['low', 'medium', 'high', 'urgent']);
    if (dice.chance(0.3)) fields.tags = ['a', 'b', 'c'].filter(() => dice.chance(0.5));
    if (dice.chance(0.2)) fields.notes = 'n'.repeat(dice.below(300));
    if (dice.chance(0.4)) {
      fields.due = new Date(Date.now() + 86_400_000).toISOString().slice(0, 16);
      if (dice.chance(0.6)) fields.recurrence = { rule: dice.pick(['daily', 'FREQ=WEEKLY;INTERVAL=2', 'monthly']) };
    }
    if (dice.chance(0.15)) {
      fields.reminders = [{ at: new Date(Date.now() + 500 + dice.below(this.remindMs)).toISOString(), for: 'me' }];
    }
    return fields;
  }

  // A random command on a list that this client knows.
  next() {
    const { dice } = this;
    const list = dice.pick(this.lists);
    const tasks = this.known.get(list);
    const kind = dice.next();
    const command = { id: uuid(), list };
    if (tasks.length === 0 || kind < 0.25) {
      const task = uuid();
      tasks.push(task);
      if (tasks.length > 200) tasks.shift();
      const data = this.fields();
      if (tasks.length > 1 && dice.chance(0.3)) data.parent = dice.pick(tasks);
      return { ...command, op: 'task.create', task, data };
    }
    if (dice.chance(0.3)) delete command.list;
    command.task = dice.chance(0.8) ? dice.pick(tasks) : this.anyTask(list) ?? dice.pick(tasks);
    if (kind < 0.6) return { ...command, op: 'task.patch', data: this.patch() };
    if (kind < 0.8) return { ...command, op: 'task.complete', data: {} };
    if (kind < 0.86) return { ...command, op: 'task.reopen' };
    if (kind < 0.895) return { ...command, op: 'task.delete' };
    if (kind < 0.915) return { ...command, op: 'task.restore' };
    if (kind < 0.94) return { ...command, op: 'task.move', data: { list: dice.pick(this.lists) } };
    if (kind < 0.945) return { ...command, op: 'task.snooze', data: { for: `PT${1 + dice.below(this.remindMs / 1000)}S` } };
    if (kind < 0.955) return { ...command, op: 'reminder.dismiss', data: this.dismissal(command.task) };
    if (kind < 0.975) return this.share(command.id);
    if (kind < 0.98) return { id: command.id, op: 'list.patch', list, data: { title: `List ${dice.below(1e9)}` } };
    if (kind < 0.99) return { id: command.id, op: 'account.patch', list: this.client.account, data: { name: `N${dice.below(99)}` } };
    return { id: command.id, op: 'member.put', list, data: { account: dice.pick(this.others), role: 'editor' } };
  }

  // What happens to lists that only this client works on: others come and go, and so do the lists.
  share(id) {
    const { dice } = this;
    if (this.own.length === 0 || dice.chance(0.2)) {
      this.own.push(uuid());
      return { id, op: 'list.create', list: this.own.at(-1), data: { title: 'Another' } };
    }
    const command = { id, list: dice.pick(this.own) };
    const account = dice.pick(this.others);
    const kind = dice.next();
    if (kind < 0.4) return { ...command, op: 'member.put', data: { account, role: dice.pick(['viewer', 'editor', 'owner']) } };
    if (kind < 0.6) return { ...command, op: 'member.remove', data: { account } };
    if (kind < 0.8) return { ...command, op: 'list.delete' };
    return { ...command, op: 'list.restore' };
  }

  patch() {
    const fields = this.fields();
    if (this.dice.chance(0.2)) fields.status = this.dice.pick(['open', 'in_progress', 'done', 'cancelled']);
    delete fields.recurrence;
    if (!this.dice.chance(0.5)) delete fields.title;
    if (this.dice.chance(0.15)) fields.parent = this.dice.chance(0.3) ? null : this.dice.pick([...this.known.values()].flat());
    return fields;
  }

  // Of a reminder that the task has, if it has any here; up to an instant that is past.
  dismissal(task) {
    const known = this.lists.map((list) => this.follower.streams.get(list)?.tasks.get(task)).find((one) => one);
    const reminder = known?.reminders.length ? this.dice.pick(known.reminders).id : uuid();
    return { reminder, at: new Date(Date.now() - 1000 - this.dice.below(5000)).toISOString() };
  }

  anyTask(list) {
    const ids = [...(this.follower.streams.get(list)?.tasks.keys() ?? [])];
    return ids.length ? this.dice.pick(ids) : undefined;
  }

  // Sends until the outcome is known; now and then gives up, so that there are commands without one.
  async issue(command) {
    const overHttp = /^(task|reminder)\./.test(command.op) && this.dice.chance(0.3);
    const entry = { command, outcome: 'unknown', tries: 0 };
    this.ledger.push(entry);
    for (;;) {
      entry.tries++;
      const answer = await (overHttp ? this.sendHttp(command) : this.follower.command(command));
      if (answer?.ok) {
        Object.assign(entry, { outcome: 'acknowledged', stream: answer.stream, rev: answer.rev });
        return;
      }
      if (answer && REFUSED_FOR_GOOD.has(answer.problem.code)) {
        Object.assign(entry, { outcome: 'refused', code: answer.problem.code });
        return;
      }
      if (answer && answer.problem.status !== 503) {
        throw new Error(`${command.op} was answered ${JSON.stringify(answer)}`);
      }
      if (entry.tries > 1 && this.dice.chance(0.05)) return;
      await new Promise((next) => { setTimeout(next, 50); });
    }
  }

  // Answers what the WebSocket would, or null when there was no answer.
  async sendHttp(command) {
    const headers = { 'Idempotency-Key': command.id };
    const { client } = this;
    try {
      const answer = await {
        'task.create': () => client.post(`/v1/lists/${command.list}/tasks`, { id: command.task, ...command.data }, headers),
        'task.patch': () => client.patch(`/v1/tasks/${command.task}`, command.data, headers),
        'task.complete': () => client.post(`/v1/tasks/${command.task}/complete`, command.data, headers),
        'task.reopen': () => client.post(`/v1/tasks/${command.task}/reopen`, {}, headers),
        'task.delete': () => client.delete(`/v1/tasks/${command.task}`, headers),
        'task.restore': () => client.post(`/v1/tasks/${command.task}/restore`, {}, headers),
        'task.move': () => client.post(`/v1/tasks/${command.task}/move`, command.data, headers),
        'task.snooze': () => client.post(`/v1/tasks/${command.task}/snooze`, command.data, headers),
        'reminder.dismiss': () => client.post(`/v1/tasks/${command.task}/reminders/${command.data.reminder}/dismiss`, { at: command.data.at }, headers),
      }[command.op]();
      if (answer.status < 300) return { ok: true };
      if (answer.body?.code === undefined) return null;
      return { ok: false, problem: answer.body };
    } catch {
      return null;
    }
  }
}

async function settle(bench, what, sql, limitMs = 120_000) {
  await waitFor(async () => (await bench.cluster.value(sql)) === '0', what, limitMs);
}

async function everyTask(client, list) {
  const tasks = new Map();
  let cursor = '';
  do {
    const answer = await client.get(
      `/v1/lists/${list}/tasks?limit=500&status=open&status=in_progress&status=done&status=cancelled${cursor}`);
    assert.equal(answer.status, 200, answer.text);
    for (const task of answer.body.items) tasks.set(task.id, task);
    cursor = answer.body.next ? `&cursor=${encodeURIComponent(answer.body.next)}` : '';
  } while (cursor);
  return tasks;
}

// Prepares accounts and lists that they share.
async function prepare(bench, nClients, seed, remindMs) {
  const clients = [];
  for (let i = 0; i < nClients; i++) clients.push(await Client.register(bench.programs[i % bench.programs.length].url));
  const lists = [];
  for (let i = 0; i < Math.max(2, Math.ceil(nClients / 2)); i++) {
    const first = (i * 2) % nClients;
    const owner = clients[first];
    const list = await owner.list(`Shared ${i}`);
    for (let k = 1; k < 4 && k < nClients; k++) {
      const member = clients[(first + k) % nClients];
      const added = await owner.post(`/v1/lists/${list.id}/members`, { email: member.email, role: k === 1 ? 'owner' : 'editor' });
      assert.equal(added.status, 201, added.text);
    }
    lists.push({ id: list.id, members: [0, 1, 2, 3].filter((k) => k < nClients).map((k) => (first + k) % nClients) });
  }
  return clients.map((client, i) => {
    const mine = lists.filter((list) => list.members.includes(i)).map((list) => list.id);
    // Each in another way: JSON or msgpack, list by list or all at once; one in three reads event streams besides.
    const way = { protocol: i % 2 ? MSGPACK : 'taskwire.v1.json', all: i % 4 > 1 };
    const author = new Author(client, new Follower(client.url, client.token, mine, way), mine, random(seed * 1000 + i), remindMs);
    author.followers = [author.follower];
    if (i % 3 === 0) author.followers.push(new FeedFollower(client.url, client.token, mine));
    author.others = clients.map((other) => other.account);
    return author;
  });
}

// Kills one of the two, now a taskwire, now PostgreSQL, and starts it again.
async function killOne(bench, dice, counts) {
  if (dice.chance(0.6)) {
    const program = dice.pick(bench.programs);
    await program.kill();
    await program.start();
    counts.taskwire++;
  } else {
    await bench.cluster.kill();
    await bench.cluster.start();
    counts.postgres++;
  }
}

// How often each of a client's workers issues a command once there were as many as asked for, and a strike is still going on:
// there is load all the while, but what it makes need not be compared for ever.
const IDLE_MS = 400;

// Every client issues commands, a few at once, until there were `nCommands` and every strike has been dealt; the strikes are
// spread over the commands.
async function churn(authors, nCommands, strikes) {
  let issued = 0;
  let fault;
  let dealt = false;
  const worker = async (author) => {
    while ((issued < nCommands || !dealt) && !fault) {
      issued++;
      try {
        await author.issue(author.next());
      } catch (error) {
        fault ??= error;
      }
      if (issued >= nCommands && !dealt && !fault) await new Promise((next) => { setTimeout(next, IDLE_MS); });
    }
  };
  const work = Promise.all(authors.flatMap((author) => [worker(author), worker(author), worker(author), worker(author)]));
  try {
    for (const [k, strike] of strikes.entries()) {
      const at = Math.floor((nCommands * (k + 1)) / (strikes.length + 1));
      await waitFor(() => issued >= at || fault, `${at} commands are issued`, 600_000);
      if (fault) break;
      await strike();
    }
  } catch (error) {
    fault ??= error;
  }
  dealt = true;
  await work;
  if (fault) throw fault;
  return issued;
}

async function checkLedgers(bench, authors) {
  const rows = await bench.cluster.query('SELECT by, command, stream, rev FROM event WHERE is_answer');
  const found = new Map();
  for (const [by, id, stream, rev] of rows) {
    const key = `${by}/${id}`;
    assert.ok(!found.has(key), `command ${key} is in the log twice`);
    found.set(key, { stream, rev: Number(rev) });
  }
  const counts = { acknowledged: 0, refused: 0, unknown: 0, unknownButApplied: 0, dismissed: 0 };
  const dismissed = new Map();
  for (const author of authors) {
    for (const entry of author.ledger) {
      const row = found.get(`${author.client.account}/${entry.command.id}`);
      counts[entry.outcome]++;
      if (entry.outcome === 'acknowledged') {
        assert.ok(row, `acknowledged and lost: ${JSON.stringify(entry)}`);
        if (entry.rev !== undefined) assert.deepEqual({ stream: entry.stream, rev: entry.rev }, row);
      } else if (entry.outcome === 'refused' && entry.tries === 1) {
        assert.ok(!row, `refused and applied: ${JSON.stringify(entry)}`);
      } else if (row) {
        counts.unknownButApplied++;
      }
      if (row && entry.command.op === 'reminder.dismiss') noteDismissed(dismissed, author.client.account, entry.command);
    }
  }
  counts.dismissed = dismissed.size;
  await checkDismissed(bench, dismissed);
  return counts;
}

function noteDismissed(dismissed, account, { task, data: { reminder, at } }) {
  const key = `${task}/${reminder}/${account}`;
  dismissed.set(key, Math.max(dismissed.get(key) ?? 0, Date.parse(at)));
}

// For each account the last instant up to which it has dismissed a reminder.
async function checkDismissed(bench, dismissed) {
  const rows = await bench.cluster.query('SELECT task, reminder, account, round(extract(epoch FROM until) * 1000) FROM reminder_dismissed');
  assert.deepEqual(new Map(rows.map(([task, reminder, account, until]) => [`${task}/${reminder}/${account}`, Number(until)])), dismissed,
    'what was dismissed is');
}

async function checkDatabase(bench, nLetters) {
  const wrong = []; // looked for all at once: each call of psql takes its time
  const none = (what, sql) => wrong.push(`(SELECT '${what}' AS what, q::text FROM (${sql}) q LIMIT 5)`);
  none('revs are dense and end at the head', `SELECT s.id, s.head, e.n, e.top FROM stream s LEFT JOIN
    (SELECT stream, count(*) AS n, max(rev) AS top, min(rev) AS low FROM event GROUP BY stream) e ON e.stream = s.id
    WHERE e.n IS DISTINCT FROM s.head OR e.top IS DISTINCT FROM s.head OR e.low <> 1`);
  none('the number of open tasks is right', `SELECT s.id, s.n_open, count(t.id) FROM stream s LEFT JOIN task t
    ON t.list = s.id AND t.status < 2 AND t.deleted_at IS NULL GROUP BY s.id, s.n_open HAVING s.n_open <> count(t.id)`);
  none('the numbers of owners and members are right', `SELECT l.id, l.n_owners, l.n_members FROM list l
    JOIN member m ON m.list = l.id GROUP BY l.id HAVING l.n_members <> count(*) OR l.n_owners <> count(*) FILTER (WHERE m.role = 3)`);
  // Types 23 and 24: list.joined and list.left. Each account was told of just those lists that it is in.
  // Types 23 and 24 are list.joined and list.left: the last one of each list says whether the account is in it.
  none('every account was told which lists it is in', `WITH told AS (
    SELECT DISTINCT ON (t.stream, e.stream) t.stream AS account, e.stream AS list, t.type = 23 AS is_in FROM event t
      JOIN event e ON e.command = t.command AND e.by = t.by AND e.stream <> t.stream AND e.type IN (12, 14, 15, 16, 18)
      WHERE t.type IN (23, 24) ORDER BY t.stream, e.stream, t.id DESC)
    SELECT told.account, told.list, is_in FROM told WHERE is_in <> EXISTS (SELECT 1 FROM member m JOIN list l ON l.id = m.list
      WHERE m.account = told.account AND m.list = told.list AND l.deleted_at IS NULL)`);
  none('an occurrence is there once', `SELECT series, occurrence, count(*) FROM task
    WHERE series IS NOT NULL AND deleted_at IS NULL GROUP BY 1, 2 HAVING count(*) > 1`);
  none('what is there is under what is there', `SELECT t.id, p.id FROM task t LEFT JOIN task p ON p.id = t.parent
    AND p.list = t.list AND p.deleted_at IS NULL WHERE t.deleted_at IS NULL AND t.parent IS NOT NULL AND p.id IS NULL`);
  none('of two events of a task the later one has the larger id', `SELECT i.task, i.id, o.id FROM event i JOIN event o
    ON o.task = i.task AND o.command = i.command AND o.by = i.by AND o.type = 8 WHERE i.type = 9 AND o.id > i.id`);
  none('a reminder fires once', `SELECT task, command, count(*) FROM event WHERE type = 11 GROUP BY 1, 2 HAVING count(*) > 1`);
  none('no reminder fires early', 'SELECT * FROM reminder WHERE state = 1 AND fired_at < fire_at');
  none('no event was a dead letter', 'SELECT actor, event_id, reason FROM dead_letter WHERE topic IS NULL');
  assert.deepEqual(await bench.cluster.query(wrong.join(' UNION ALL ')), []);
  const letters = await bench.cluster.query('SELECT topic, partition, record_offset, reason FROM dead_letter WHERE topic IS NOT NULL');
  assert.equal(letters.length, nLetters, `records that are dead letters: ${JSON.stringify(letters.slice(0, 5))}`);
}

// Who follows all follows just what there is.
async function checkStreams(bench, authors) {
  const rows = await bench.cluster.query('SELECT m.account, m.list FROM member m JOIN list l ON l.id = m.list AND l.deleted_at IS NULL');
  for (const { client: { account }, follower } of authors.filter((author) => author.follower.all)) {
    const there = [account, ...rows.filter(([member]) => member === account).map(([, list]) => list)];
    assert.deepEqual([...follower.streams.keys()].sort(), there.sort(), 'the streams of who follows all');
  }
}

function checkFollower(follower, list, tasks) {
  const stream = follower.streams.get(list);
  const live = [...stream.tasks.values()].filter((task) => task.deleted_at === null);
  assert.equal(live.length, tasks.size, `follower of ${list} has as many tasks as the database`);
  for (const task of live) assert.deepEqual(task, tasks.get(task.id), `task ${task.id} is the same`);
}

async function checkSuccessors(bench, tasks) {
  const rows = await bench.cluster.query('SELECT series, occurrence FROM task WHERE series IS NOT NULL');
  const there = new Set(rows.map(([series, occurrence]) => `${series}/${occurrence}`));
  let n = 0;
  for (const task of tasks) {
    if (!task.recurrence || !['done', 'cancelled'].includes(task.status)) continue;
    n++;
    assert.ok(there.has(`${task.series}/${task.occurrence + 1}`), `no successor of ${JSON.stringify(task)}`);
  }
  return n;
}

// Everything that the log brings about has happened: no reminder is due, no occurrence missing, all is audited.
async function comeToRest(bench, authors) {
  await waitFor(() => authors.every((author) => author.followers.every((follower) => follower.isReady)), 'every follower is connected', 60_000);
  await settle(bench, 'the reminders have fired', 'SELECT count(*) FROM reminder WHERE state = 0 AND fire_at < now() + interval \'12 seconds\'');
  await settle(bench, 'every event is handled by every actor', `SELECT count(*) FROM (SELECT shard, max(id) AS top FROM event GROUP BY shard) e
    CROSS JOIN (VALUES ('recurrence'), ('reminder'), ('audit')) a(actor) LEFT JOIN relay_position p ON p.actor = a.actor AND p.shard = e.shard
    WHERE p.id IS DISTINCT FROM e.top`);
  await settle(bench, 'every event is audited', `SELECT count(*) FROM stream s LEFT JOIN audit_head h ON h.stream = s.id WHERE h.rev IS DISTINCT FROM s.head`);
  const heads = new Map((await bench.cluster.query('SELECT id, head FROM stream')).map(([id, head]) => [id, Number(head)]));
  const behind = () => authors.flatMap((author, i) => author.followers.flatMap((follower) => [...follower.streams]
    .filter(([id, stream]) => stream.rev !== heads.get(id))
    .map(([id, stream]) => `${follower.constructor.name} ${i} of ${id} at ${stream.rev} of ${heads.get(id)}`)));
  await waitFor(() => behind().length === 0, 'every follower is at the head', 60_000)
    .catch((error) => { throw new Error(`${error.message}: ${behind().slice(0, 5).join(', ')}; faults ${JSON.stringify(authors.flatMap((a) => a.followers.flatMap((f) => f.faults.slice(0, 2))))}`); });
}

// Processes on a database, clients with their books, and in Kafka mode readers of the topics. To be closed. Reminders are due
// within `remindMs`: whoever compares waits for them.
export class Ledger {
  static async open({ clients = 8, processes = 1, seed, settings = {}, kafka, remindMs = 8000 }) {
    const self = new Ledger();
    const all = { GATEWAYS: 2, ...settings };
    self.bench = await Bench.start({ settings: all, kafka });
    self.authors = [];
    self.unseen = 0; // events up to this id may be missing in task-events: they went to one that was deleted
    self.letters = 0; // records that nobody can handle: how many dead letters of such there must be
    try {
      while (self.bench.programs.length < processes) await self.bench.program(all).start();
      self.authors = await prepare(self.bench, clients, seed, remindMs);
      if (self.bench.kafka) self.topics = await follow(self.bench.kafka, self.bench);
      return self;
    } catch (error) {
      await self.close();
      throw error;
    }
  }

  churn(nCommands, strikes) {
    return churn(this.authors, nCommands, strikes);
  }

  // Waits until all that follows from the commands has happened, and compares. Answers a sentence about it.
  async check() {
    const { bench, authors } = this;
    await comeToRest(bench, authors);
    const counts = await checkLedgers(bench, authors);
    await checkDatabase(bench, this.letters);
    await checkStreams(bench, authors);
    const tasksOfAll = [];
    for (const author of authors) {
      for (const { faults } of author.followers) assert.deepEqual(faults.slice(0, 3), [], 'followers saw each rev once and in order');
      for (const list of author.lists) {
        const tasks = await everyTask(author.client, list);
        for (const follower of author.followers) checkFollower(follower, list, tasks);
        tasksOfAll.push(...tasks.values());
      }
    }
    const closed = await checkSuccessors(bench, tasksOfAll);
    const [[events, fired]] = await bench.cluster.query('SELECT count(*), count(*) FILTER (WHERE type = 11) FROM event');
    const follower = authors.flatMap((author) => author.followers).reduce((sum, f) => {
      for (const key of Object.keys(f.counts)) sum[key] = (sum[key] ?? 0) + f.counts[key];
      return sum;
    }, {});
    const repeated = this.topics ? `, repeated in the topic ${await this.checkTopics()}` : '';
    const verified = await runCommand(['verify'], bench.taskwire.environment());
    assert.equal(verified.code, 0, verified.stdout + verified.stderr);
    return `commands ${JSON.stringify(counts)}, events ${events}, closed occurrences ${closed}, reminders fired ${fired}, ` +
      `followers ${JSON.stringify(follower)}${repeated}, ${verified.stdout.trim().split('\n').pop()}`;
  }

  async checkTopics() {
    const { bench, topics, unseen } = this;
    await everyEventIsIn(bench, topics.events, { after: unseen });
    await Promise.all(Object.values(topics).map((reader) => reader.catchUp()));
    const events = await eventsOf(bench);
    const repeated = checkEvents(topics.events.records, events, { after: unseen });
    checkReminders(topics.reminders.records, events);
    checkUpdates(topics.updates.records, await tasksOf(bench));
    return repeated;
  }

  async close() {
    for (const author of this.authors) for (const follower of author.followers) follower.stop();
    for (const reader of Object.values(this.topics ?? {})) await reader.stop();
    await this.bench.stop();
  }
}

export async function ledger({
  clients = 8, commands = 3000, kills = 3, processes = 1, seed = Date.now() % 1e6, say = console.log, settings = {},
} = {}) {
  say(`ledger: seed ${seed}, ${clients} clients, ${commands} commands, ${kills} kills, ${processes} processes`);
  const self = await Ledger.open({ clients, processes, seed, settings });
  try {
    const started = performance.now();
    const killed = { taskwire: 0, postgres: 0 };
    const dice = random(seed);
    await self.churn(commands, Array.from({ length: kills }, () => () => killOne(self.bench, dice, killed)));
    const seconds = (performance.now() - started) / 1000;
    say(`ledger: ${seconds.toFixed(0)} s, killed ${JSON.stringify(killed)}, ${await self.check()}`);
  } finally {
    await self.close();
  }
}

if (process.argv[1]?.endsWith('ledger.mjs')) {
  const { values } = parseArgs({
    options: Object.fromEntries(['clients', 'commands', 'kills', 'processes', 'seed'].map((name) => [name, { type: 'string' }])),
  });
  await ledger(Object.fromEntries(Object.entries(values).map(([key, value]) => [key, Number(value)])));
}
