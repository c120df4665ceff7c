// SPDX-License-Identifier: Apache-2.0
// A clock that is set forward and back under the running program, the nights of the clock changes, and times at which
// nothing ran: a reminder fires once, not before its instant, and none is lost. TASKWIRE_SEED repeats the random steps.
import { describe, it, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { Bench } from '../lib/program.mjs';
import { Client } from '../lib/client.mjs';
import { Clock } from '../lib/clock.mjs';
import { granted } from '../lib/expect.mjs';
import { readAll } from '../lib/pages.mjs';
import { micros, random, waitFor } from '../lib/wait.mjs';
import { makeZones } from '../lib/zones.mjs';

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const LATE_MS = 8 * SECOND; // on a busy machine
const seed = Number(process.env.TASKWIRE_SEED ?? Math.floor(Math.random() * 2 ** 31));

describe('a clock that is set', { timeout: 300_000 }, () => {
  let bench;
  let clock;
  let me;

  const events = async (list) => (await readAll(me, `/v1/lists/${list.id}/events`, { limit: 500 }))
    .filter((event) => event.type === 'reminder.due');
  const remind = (list, ms, fields) => me.task(list.id, { reminders: [{ at: clock.after(ms) }], ...fields });
  const instantOf = (task) => Date.parse(task.reminders[0].at);

  // What fired: none early, by the clock of the test nor by that of the events, and none twice.
  async function fired(list) {
    const all = await events(list);
    const once = new Set();
    for (const { task, at, reminder } of all) {
      assert.ok(micros(at) >= micros(reminder.at), `${at} is before ${reminder.at}`);
      assert.ok(clock.highest >= Date.parse(reminder.at) || clock.now >= Date.parse(reminder.at), `no clock has come to ${reminder.at}`);
      const key = `${task} ${reminder.id} ${reminder.at}`;
      assert.ok(!once.has(key), `${reminder.at} fired twice`);
      once.add(key);
    }
    return all;
  }

  const fires = (list, task) => waitFor(async () => (await fired(list)).find((event) => event.task === task.id),
    `the reminder of ${task.title} fires`, 30_000);

  // A reminder in a moment that was set before its instant: one that is past then would never fire.
  async function inTime(list, title) {
    for (let ms = 700; ; ms *= 2) {
      const task = await remind(list, ms, { title });
      if (clock.now < instantOf(task)) return task;
    }
  }

  // When this one has fired, whatever was due before has, too.
  const passed = async (list) => fires(list, await inTime(list, 'a fence'));

  before(async () => {
    bench = await Bench.start({ start: false, kafka: null }); // a broker would go by a clock of its own
    clock = new Clock(bench.dir);
    clock.set('2030-03-30T12:00:00Z');
    bench.taskwire = await clock.of(bench.program({ GATEWAYS: 1 })).start();
    me = await Client.register(bench.taskwire.url);
  });
  after(() => bench?.stop());

  it('forward lets fire what it has passed over, late; and what is soon by then on time', async () => {
    const list = await me.list();
    const [passedOver, soon, later] = [await remind(list, HOUR, { title: 'passed over' }), await remind(list, 2 * HOUR + 4 * SECOND, { title: 'soon' }),
      await remind(list, 5 * HOUR, { title: 'later' })];
    clock.step(2 * HOUR);
    const event = await fires(list, passedOver);
    assert.equal(event.reminder.late, true);
    assert.ok(Date.parse((await fires(list, soon)).at) - instantOf(soon) < LATE_MS);
    await passed(list);
    assert.equal((await fired(list)).filter((one) => one.task === later.id).length, 0);
  });

  it('back keeps what was due soon until the clock is there again, and fires nothing a second time', async () => {
    const list = await me.list();
    const before = await inTime(list, 'before');
    const soon = await remind(list, 20 * SECOND, { title: 'soon' });
    await fires(list, before);
    clock.step(-HOUR);
    await passed(list);
    clock.set(clock.after(HOUR - 40 * SECOND));
    await passed(list); // the instant of `before` comes by again
    assert.ok(!(await fired(list)).some((event) => event.task === soon.id));
    clock.set(new Date(instantOf(soon) - 2 * SECOND).toISOString());
    await fires(list, soon);
    await passed(list);
    assert.equal((await fired(list)).filter((event) => event.task === before.id).length, 1);
  });

  it('forth and back at random fires each once when the clock has come to it', async (t) => {
    t.diagnostic(`seed ${seed}`);
    const dice = random(seed);
    const list = await me.list();
    const tasks = [];
    for (let i = 0; i < 24; i++) tasks.push(await remind(list, 10 * SECOND + dice.below(2 * HOUR), { title: `${i}` }));
    const isDue = (task) => instantOf(task) <= clock.now;
    for (let i = 0; i < 24; i++) {
      clock.step((dice.chance(0.6) ? 1 : -1) * dice.below(20 * MINUTE));
      if (dice.chance(0.3)) tasks.push(await remind(list, 10 * SECOND + dice.below(10 * MINUTE), { title: 'new' }));
      await waitFor(async () => {
        const done = new Set((await fired(list)).map((event) => event.task));
        return tasks.every((task) => done.has(task.id) || !isDue(task));
      }, 'what is due has fired', 30_000);
    }
    clock.step(5 * HOUR);
    await waitFor(async () => (await fired(list)).length === tasks.length, 'all have fired', 30_000);
  });

  // Tasks due at these local times, and the instants at which they remind; each by its timer, on time.
  async function night(date, cases) {
    clock.set(`${date}T06:00:00Z`);
    me = await Client.register(bench.taskwire.url, { time_zone: 'Europe/Zurich' }); // a session does not last so long
    const list = await me.list();
    const tasks = [];
    for (const [due, before, at] of cases) {
      const task = await me.task(list.id, { title: `${due} ${before}`, due, time_zone: 'Europe/Zurich', reminders: [{ before }] });
      tasks.push({ task, at });
    }
    for (const { task, at } of tasks.sort((a, b) => Date.parse(a.at) - Date.parse(b.at))) {
      if (clock.now < Date.parse(at)) clock.set(new Date(Date.parse(at) - SECOND).toISOString());
      const event = await fires(list, task);
      assert.equal(micros(event.reminder.at), micros(at), task.title);
      assert.ok(Date.parse(event.at) - Date.parse(at) < LATE_MS, `${event.at} is late for ${at}`);
    }
    await passed(list);
    assert.equal((await fired(list)).filter((event) => event.after.title !== 'a fence').length, cases.length);
  }

  it('comes over the night in which an hour is missing', () => night('2031-03-29', [
    ['2031-03-30T01:30', 'PT0S', '2031-03-30T00:30:00Z'],
    ['2031-03-30T02:30', 'PT0S', '2031-03-30T01:30:00Z'], // not on the clock: by the offset before it
    ['2031-03-30T03:00', 'PT0S', '2031-03-30T01:00:00Z'],
    ['2031-03-30T09:00', 'P1D', '2031-03-29T07:00:00Z'],
    ['2031-03-30T09:00', 'PT7H', '2031-03-30T00:00:00Z'],
    ['2031-03-30T09:00', '-PT1H', '2031-03-30T08:00:00Z'],
    ['2031-03-30', 'PT0S', '2031-03-30T07:00:00Z'], // all day: at nine
  ]));

  it('comes over the night in which an hour is there twice', () => night('2031-10-25', [
    ['2031-10-26T01:59', 'PT0S', '2031-10-25T23:59:00Z'],
    ['2031-10-26T02:30', 'PT0S', '2031-10-26T00:30:00Z'], // the first of the two
    ['2031-10-26T03:00', 'PT0S', '2031-10-26T02:00:00Z'],
    ['2031-10-26T09:00', 'PT7H', '2031-10-26T01:00:00Z'],
    ['2031-10-26', 'PT0S', '2031-10-26T08:00:00Z'],
  ]));

  it('over a time at which nothing ran fires what is late in order, and what is too late is missed', async () => {
    const list = await me.list();
    const hours = { missed: [1, 3, 14], late: [39, 20, 38, 17], later: [41] };
    const tasks = {};
    for (const [title, after] of Object.entries(hours)) {
      tasks[title] = [];
      for (const n of after) tasks[title].push(await remind(list, n * HOUR, { title: `${title} ${n}` }));
    }
    const rows = async () => new Map((await readAll(me, '/v1/reminders', { from: '2031-01-01T00:00:00Z', limit: 500 })).map((row) => [row.task, row]));
    await waitFor(async () => { const all = await rows(); return Object.values(tasks).flat().every((task) => all.has(task.id)); }, 'they are known');
    await bench.taskwire.kill();
    clock.step(40 * HOUR);
    await bench.taskwire.start();
    me.url = bench.taskwire.url;
    await passed(list);
    const late = (await fired(list)).filter((event) => event.after.title !== 'a fence');
    assert.deepEqual(late.map((event) => [event.reminder.at, event.reminder.late]), tasks.late.map((task) => [task.reminders[0].at, true]).sort());
    const states = await rows();
    for (const [title, state] of [['missed', 'missed'], ['late', 'fired'], ['later', 'pending']]) {
      for (const task of tasks[title]) assert.equal(states.get(task.id).state, state, task.title);
    }
    clock.set(new Date(instantOf(tasks.later[0]) - 2 * SECOND).toISOString());
    await fires(list, tasks.later[0]);
  });

  it('back while nothing ran fires nothing early and nothing again', async () => {
    const list = await me.list();
    const [first, second] = [await inTime(list, 'first'), await remind(list, 10 * MINUTE, { title: 'second' })];
    await fires(list, first);
    await bench.taskwire.stop();
    clock.step(-HOUR);
    await bench.taskwire.start();
    await passed(list);
    clock.set(new Date(instantOf(first) - 2 * SECOND).toISOString());
    await passed(list);
    assert.ok(!(await fired(list)).some((event) => event.task === second.id));
    clock.set(new Date(instantOf(second) - 2 * SECOND).toISOString());
    await fires(list, second);
    assert.equal((await fired(list)).filter((event) => event.task === first.id).length, 1);
  });

  // In the one town all is two hours earlier by the other data, in the other two hours later. The program is not there
  // from five to ten to seven.
  it('with other time zone data fires what waits at its new instant, once, and what fired not again', async () => {
    await bench.taskwire.stop();
    clock.set('2033-06-01T04:30:00Z');
    const data = { old: { 'Test/Early': 1, 'Test/Later': 1 }, fresh: { 'Test/Early': 3, 'Test/Later': -1 } };
    const run = async (name) => {
      const program = clock.of(bench.program({ GATEWAYS: 1 }));
      program.extra.TZDIR = makeZones(join(bench.dir, name), data[name]);
      await program.start();
      me.url = program.url;
      return program;
    };
    const old = await run('old');
    me = await Client.register(old.url, { time_zone: 'UTC' });
    const list = await me.list();
    const tasks = {};
    for (const [title, zone, due, instant] of [
      ['fired', 'Test/Later', 'T05:50', 'T04:50'], // and would be due at 06:50 now
      ['overdue early', 'Test/Early', 'T07:15', null], // at 06:15 by the old data, at 04:15 by the new
      ['overdue later', 'Test/Later', 'T07:30', null], // at 06:30 or 08:30
      ['passed over', 'Test/Early', 'T08:30', 'T05:30'], // which was at 07:30
      ['later', 'Test/Later', 'T08:00', 'T09:00'], // which was at 07:00
      ['early', 'Test/Early', 'T12:30', 'T09:30'], // which was at 11:30
      ['the same', 'UTC', 'T10:00', 'T10:00'],
    ]) {
      tasks[title] = await me.task(list.id, { title, due: `2033-06-01${due}`, time_zone: zone, reminders: [{ before: 'PT0S' }] });
      tasks[title].instant = instant && `2033-06-01${instant}:00Z`;
    }
    clock.set('2033-06-01T04:49:59Z');
    await fires(list, tasks.fired);
    await old.stop();
    clock.set('2033-06-01T06:49:50Z'); // and runs past 06:50
    const fresh = await run('fresh');
    for (const title of ['overdue early', 'passed over']) assert.equal((await fires(list, tasks[title])).reminder.late, true, title);
    await waitFor(() => clock.now > Date.parse('2033-06-01T06:50:00Z'), 'it is ten to seven');
    await passed(list);
    for (const time of ['06:59:59', '07:29:59', '08:29:59', '08:59:59', '09:29:59', '09:59:59', '11:29:59']) {
      clock.set(`2033-06-01T${time}Z`);
      await passed(list);
    }
    const all = (await fired(list)).filter((event) => event.after.title !== 'a fence');
    assert.deepEqual(all.map((event) => event.after.title).sort(), Object.keys(tasks).sort());
    for (const { reminder, after: { title } } of all.filter((event) => tasks[event.after.title].instant)) {
      assert.equal(micros(reminder.at), micros(tasks[title].instant), title);
    }
    await fresh.stop();
  });
});
