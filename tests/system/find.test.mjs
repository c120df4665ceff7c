// SPDX-License-Identifier: Apache-2.0
// Finding tasks: every filter in every combination against a model of its own, full text, and what counts from now.
import { describe, it, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { Bench } from '../lib/program.mjs';
import { Client } from '../lib/client.mjs';
import { granted } from '../lib/expect.mjs';
import { readAll } from '../lib/pages.mjs';
import { random } from '../lib/wait.mjs';

const seed = Number(process.env.TASKWIRE_SEED ?? Date.now() % 1_000_000);
const zone = 'Europe/Zurich';
const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;

// --- the model ---

const fold = (text) => text.normalize('NFKD').replace(/\p{M}/gu, '').toLowerCase();
const wordsOf = (text) => [...fold(text).matchAll(/[\u3040-\u30ff\u3400-\u9fff]|\p{So}|[\p{L}\p{N}]+?(?=$|[^\p{L}\p{N}]|[\u3040-\u30ff\u3400-\u9fff])/gu)]
  .map(([word]) => word);

function hasWords(task, q) {
  const there = [task.title, task.notes, ...task.tags].flatMap(wordsOf);
  const asked = wordsOf(q);
  return asked.every((word, i) => there.some((other) => i === asked.length - 1 ? other.startsWith(word) : other === word));
}

// The date on which an instant is, in the zone of the account.
const dateOf = (at) => new Intl.DateTimeFormat('en-CA', { timeZone: zone, dateStyle: 'short' }).format(at);
// The dates of today and the days after it: at noon no clock change matters.
const datesFrom = (now, n) => Array.from({ length: n }, (_, i) => dateOf(Date.parse(`${dateOf(now)}T12:00:00Z`) + i * DAY));

const dueFits = {
  today: (task, now) => task.due_at !== null && dateOf(Date.parse(task.due_at)) === dateOf(now),
  week: (task, now) => task.due_at !== null && datesFrom(now, 7).includes(dateOf(Date.parse(task.due_at))),
  overdue: (task, now) => task.due_at !== null && Date.parse(task.due_at) < now,
  none: (task) => task.due_at === null,
};

const keys = {
  due: (task) => task.due_at && Date.parse(task.due_at),
  priority: (task) => ['low', 'medium', 'high', 'urgent'].indexOf(task.priority),
  position: (task) => Buffer.from(task.position),
  created_at: (task) => task.created_at.padEnd(27, '0').replace('Z', ''),
  updated_at: (task) => task.updated_at.padEnd(27, '0').replace('Z', ''),
  title: (task) => Buffer.from(fold(task.title)),
};
const order = (a, b) => a instanceof Buffer ? Buffer.compare(a, b) : a < b ? -1 : a > b ? 1 : 0;

function sorted(tasks, sort) {
  const sign = sort.startsWith('-') ? -1 : 1;
  const key = keys[sort.replace('-', '')];
  return [...tasks].sort((a, b) => {
    const [x, y] = [key(a), key(b)];
    if ((x === null) !== (y === null)) return x === null ? 1 : -1;
    return sign * (order(x, y) || order(a.id, b.id));
  });
}

function fits(task, query, me, now) {
  const any = (name, value) => !query[name] || [query[name]].flat().includes(value);
  const assignees = query.assignee && [query.assignee].flat().map((one) => one === 'me' ? me : one === 'none' ? null : one);
  const at = task.due_at && Date.parse(task.due_at);
  return (query.status ? any('status', task.status) : ['open', 'in_progress'].includes(task.status)) &&
    any('list', task.list) && any('priority', task.priority) &&
    (!query.tag || [query.tag].flat().some((tag) => task.tags.includes(tag))) &&
    (!assignees || assignees.includes(task.assignee)) &&
    (!query.due || dueFits[query.due](task, now)) &&
    (!query.due_from || (at !== null && at >= query.due_from.from)) &&
    (!query.due_to || (at !== null && at <= query.due_to.to)) &&
    (!query.recurring || (query.recurring === 'true') === (task.recurrence !== null)) &&
    (query.deleted === 'true') === (task.deleted_at !== null) &&
    (!query.q || hasWords(task, query.q));
}

describe('finding tasks', { timeout: 600_000 }, () => {
  let bench;
  let me;
  let other;

  before(async () => {
    bench = await Bench.start();
    me = await Client.register(bench.taskwire.url, { time_zone: zone });
    other = await Client.register(bench.taskwire.url, { time_zone: 'Pacific/Auckland' });
  });
  after(() => bench?.stop());

  const titles = ['Milk & bread', 'Äpfel kaufen', 'apfelmus', 'Crème brûlée', '牛乳を買う', 'Party 🎉', 'MILKSHAKE', 'a-b c', 'Zoë’s e-mail'];
  const notes = ['', 'Bring the receipt; ask for Zoë.', 'milk\nbread\teggs', 'Straße 5', 'x'.repeat(300) + ' end'];
  const searches = ['milk', 'MIL', 'bread milk', 'apf', 'äPFEL', 'creme', 'brulee crème', '牛乳', '🎉', 'zoe', 'e mail', 'home', 'no such word',
    '"quoted" or -minus', "it's:*&|!()<->'", 'b', 'a', '', '…', 'milk bre', 'x'.repeat(80)];

  // A limit of due dates as a client may write it, and what it means.
  function limit(dice) {
    const at = Date.now() + dice.pick([-40, -2, 0, 1, 5, 40]) * DAY;
    const day = dateOf(at);
    return dice.pick([
      { text: new Date(at).toISOString(), from: at, to: at },
      { text: '2026-03-29', from: Date.parse('2026-03-28T23:00:00Z'), to: Date.parse('2026-03-29T22:00:00Z') - 1 },
      { text: '2026-10-25T12:00', from: Date.parse('2026-10-25T11:00:00Z'), to: Date.parse('2026-10-25T11:00:00Z') },
      { text: `${day}T00:00:00+14:00`, from: Date.parse(`${day}T00:00:00+14:00`), to: Date.parse(`${day}T00:00:00+14:00`) },
    ]);
  }

  async function someTask(dice, list) {
    const at = Date.now() + dice.pick([-400, -3, -1, 0, 1, 2, 5, 6, 7, 8, 100]) * DAY + dice.pick([-20, -2, 2, 20]) * MINUTE;
    const fields = { title: dice.pick(titles), notes: dice.pick(notes), priority: dice.pick(['low', 'medium', 'high', 'urgent']),
      tags: ['home', 'Büro', 'x y'].filter(() => dice.chance(0.3)) };
    if (dice.chance(0.8)) {
      fields.due = dice.pick([dateOf(at), new Date(at).toISOString().slice(0, 16), new Date(at).toISOString(), '2026-03-29', '2026-10-25T12:00']);
      if (dice.chance(0.3)) fields.time_zone = dice.pick(['Pacific/Kiritimati', 'America/Los_Angeles']);
      if (dice.chance(0.3)) fields.recurrence = { rule: 'weekly' };
    }
    if (dice.chance(0.4)) fields.assignee = dice.pick([me.account, other.account]);
    let task = await me.task(list.id, fields);
    /* Closing a recurring one would make its successor at some time, and so would deleting it alone. */
    const status = fields.recurrence ? dice.pick(['open', 'in_progress']) : dice.pick(['open', 'in_progress', 'done', 'cancelled']);
    if (status !== 'open') task = granted(await me.patch(`/v1/tasks/${task.id}`, { status }));
    if (dice.chance(0.3)) task = granted(await me.patch(`/v1/tasks/${task.id}`, { title: dice.pick(titles), tags: { add: ['home'] } }));
    if (dice.chance(0.2)) task = granted(await me.delete(`/v1/tasks/${task.id}?series=all`));
    return task;
  }

  it('every combination of filters finds what it should, in order, page by page', async (t) => {
    t.diagnostic(`TASKWIRE_SEED=${seed}`);
    const dice = random(seed);
    const lists = [await me.list('one'), await me.list('two'), await me.list('three')];
    for (const list of lists) granted(await me.post(`/v1/lists/${list.id}/members`, { email: other.email, role: 'viewer' }), 201);
    const all = [];
    for (let i = 0; i < 90; i++) all.push(await someTask(dice, dice.pick(lists)));
    const sorts = Object.keys(keys).flatMap((key) => [key, `-${key}`]);
    let found = 0;
    for (let i = 0; i < 150; i++) {
      const query = { sort: sorts[i % sorts.length], list: lists.map((list) => list.id) };
      const add = (name, chance, make) => { if (dice.chance(chance)) query[name] = make(); };
      const some = (items) => items.filter(() => dice.chance(0.6));
      add('status', 0.6, () => some(['open', 'in_progress', 'done', 'cancelled']));
      add('priority', 0.3, () => some(['low', 'medium', 'high', 'urgent']));
      add('tag', 0.2, () => some(['home', 'Büro', 'x y', 'none such']));
      add('assignee', 0.3, () => some(['me', 'none', other.account]));
      add('due', 0.3, () => dice.pick(['today', 'week', 'overdue', 'none']));
      add('due_from', 0.2, () => limit(dice));
      add('due_to', 0.2, () => limit(dice));
      add('recurring', 0.2, () => dice.pick(['true', 'false']));
      add('deleted', 0.3, () => dice.pick(['true', 'true', 'false']));
      add('q', 0.4, () => dice.pick(searches));
      for (const name of ['status', 'priority', 'tag', 'assignee']) if (query[name]?.length === 0) delete query[name];
      const one = dice.chance(0.3) && dice.pick(lists);
      if (one) delete query.list;
      const asked = { ...query, limit: dice.pick([2, 7, 500]) };
      for (const name of ['due_from', 'due_to']) if (query[name]) asked[name] = query[name].text;
      const expect = (now) => sorted(all.filter((task) => (!one || task.list === one.id) && fits(task, query, me.account, now)), query.sort);
      /* Midnight, and dues that pass, may fall between the model's clock and the server's. */
      const [from, shown, to] = [expect(Date.now()), await readAll(me, one ? `/v1/lists/${one.id}/tasks` : '/v1/tasks', asked), expect(Date.now())];
      if (JSON.stringify(from) !== JSON.stringify(to)) continue;
      assert.deepEqual(shown.map((task) => task.title + task.id), from.map((task) => task.title + task.id), JSON.stringify(asked));
      for (const task of shown) assert.deepEqual(task, all.find((known) => known.id === task.id));
      found += shown.length;
    }
    assert.ok(found > 500, `${found} found in all`);
  });

  it('a search sees a change of title, notes or tags at once, and only in lists of mine', async () => {
    const list = await me.list();
    const task = await me.task(list.id, { title: 'Quokka' });
    const finds = async (q, who = me) => granted(await who.get(`/v1/tasks?q=${encodeURIComponent(q)}`)).items.map((found) => found.id);
    assert.deepEqual(await finds('quok'), [task.id]);
    assert.deepEqual(await finds('quok', other), []);
    granted(await me.patch(`/v1/tasks/${task.id}`, { priority: 'high' }));
    assert.deepEqual(await finds('quokka'), [task.id]);
    granted(await me.patch(`/v1/tasks/${task.id}`, { title: 'Wombat', notes: 'Früher ein Quoll' }));
    assert.deepEqual(await finds('quokka'), []);
    assert.deepEqual(await finds('fruher wom'), [task.id]);
    granted(await me.patch(`/v1/tasks/${task.id}`, { notes: null, tags: ['Numbat'] }));
    assert.deepEqual(await finds('quoll'), []);
    assert.deepEqual(await finds('numbat'), [task.id]);
    granted(await me.patch(`/v1/tasks/${task.id}`, { tags: { remove: ['Numbat'] } }));
    assert.deepEqual(await finds('numbat'), []);
  });

  it('anything is a valid search', async (t) => {
    t.diagnostic(`TASKWIRE_SEED=${seed}`);
    const dice = random(seed + 2);
    const signs = ["'", '"', '\\', ':*', '&', '|', '!', '(', ')', '<->', '<2>', '%', '_', ' ', '\t', '-', 'a', 'É', '\u0301', '\ufdfa', '🎉', '\u202e', '牛', '\ufffd', '0'];
    for (let i = 0; i < 60; i++) {
      const q = Array.from({ length: 1 + (i % 30) * 8 }, () => dice.pick(signs)).join('');
      granted(await me.get(`/v1/tasks?q=${encodeURIComponent(q)}`));
    }
    granted(await me.get(`/v1/tasks?q=${'a%20'.repeat(1500)}`));
    const list = await me.list();
    await me.task(list.id, { title: 'many words', notes: '\ufdfa'.repeat(21_000) });
    assert.equal(granted(await me.get(`/v1/lists/${list.id}/tasks?q=${encodeURIComponent('\ufdfa')}`)).items.length, 1);
  });

  it('days are those of the account, and of its time zone as it is now', async () => {
    const list = await other.list();
    const now = Date.now();
    const dayIn = (timeZone, at) => new Intl.DateTimeFormat('en-CA', { timeZone, dateStyle: 'short' }).format(at);
    const make = (hours) => other.task(list.id, { title: `${hours}`, due: new Date(now + hours * 60 * MINUTE).toISOString() });
    const tasks = [];
    for (let hours = -30; hours <= 30; hours += 3) tasks.push(await make(hours));
    for (const timeZone of ['Pacific/Auckland', 'America/Los_Angeles', 'Pacific/Kiritimati']) {
      granted(await other.patch('/v1/me', { time_zone: timeZone }));
      const shown = granted(await other.get(`/v1/lists/${list.id}/tasks?due=today&sort=due`)).items;
      if (dayIn(timeZone, now) !== dayIn(timeZone, Date.now())) continue;
      assert.deepEqual(shown.map((task) => task.title),
        tasks.filter((task) => dayIn(timeZone, Date.parse(task.due_at)) === dayIn(timeZone, now)).map((task) => task.title), timeZone);
    }
  });
});
