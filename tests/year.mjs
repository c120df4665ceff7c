// SPDX-License-Identifier: Apache-2.0
// A year of recurring tasks and their reminders, with the real program and a clock that is set (libfaketime): what the
// preview says, and what fires. Each occurrence is done as soon as it has reminded, but the one that counts from
// completion three days later. Takes a minute or two.
//
//   TASKWIRE_BIN=build/release/taskwire node tests/year.mjs
import assert from 'node:assert/strict';
import { Bench } from './lib/program.mjs';
import { Client } from './lib/client.mjs';
import { Clock } from './lib/clock.mjs';
import { granted } from './lib/expect.mjs';
import { readAll } from './lib/pages.mjs';
import { micros, waitFor } from './lib/wait.mjs';

const DAY = 86_400_000;
const END = Date.parse('2032-01-01T00:00:00Z');
const zone = 'Europe/Zurich';
const tasks = [
  { title: 'weekly', due: '2031-01-06T09:00', recurrence: { rule: 'weekly' } },
  { title: 'monthly on the 31st, by the RFC', due: '2031-01-31T18:00', recurrence: { rule: 'FREQ=MONTHLY' } },
  { title: 'monthly on the 31st, by the word', due: '2031-01-31T19:00', recurrence: { rule: 'monthly' } },
  { title: 'at the hour that is missing or twice', due: '2031-01-05T02:30', recurrence: { rule: 'weekly' } },
  { title: '20 days after it was done, which takes 3', due: '2031-01-02T12:00', recurrence: { rule: 'FREQ=DAILY;INTERVAL=20', from: 'completion' } },
];

// 06.01. – 24.03. 08:00Z ×12: instants a fixed time of day apart, in one line.
function summary(instants) {
  const runs = [];
  for (const at of instants) {
    const [day, time] = [`${at.slice(8, 10)}.${at.slice(5, 7)}.`, `${at.slice(11, 16)}Z`];
    if (runs.at(-1)?.time === time) Object.assign(runs.at(-1), { last: day, n: runs.at(-1).n + 1 });
    else runs.push({ first: day, last: day, time, n: 1 });
  }
  return runs.map(({ first, last, time, n }) => (n === 1 ? `${first} ${time}` : `${first}–${last} ${time} ×${n}`)).join(', ');
}

const bench = await Bench.start({ start: false, kafka: null });
try {
  const clock = new Clock(bench.dir);
  clock.set('2031-01-01T00:00:00Z');
  bench.taskwire = await clock.of(bench.program({ GATEWAYS: 1 })).start();
  const me = await Client.register(bench.taskwire.url, { time_zone: zone });
  me.token = granted(await me.post('/v1/tokens', { name: 'a year', scopes: ['read', 'write'] }), 201).token; // which does not end
  const list = await me.list();
  const fired = async () => (await readAll(me, `/v1/lists/${list.id}/events`, { limit: 500 })).filter((event) => event.type === 'reminder.due');
  const open = new Map(); // by title: the occurrence, and when it is to be done
  for (const fields of tasks) {
    open.set(fields.title, { task: await me.task(list.id, { time_zone: zone, reminders: [{ before: 'PT0S' }], ...fields }), title: fields.title });
  }
  for (;;) {
    const [next] = [...open.values()].map((one) => ({ ...one, at: one.doneAt ?? Date.parse(one.task.due_at) })).sort((a, b) => a.at - b.at);
    if (next.at >= END) break;
    if (clock.now < next.at) clock.set(new Date(next.at + 5).toISOString());
    const { task, title } = next;
    if (!next.doneAt) {
      await waitFor(async () => (await fired()).some((event) => event.task === task.id), `${title} of ${task.due} reminds`, 30_000);
      next.doneAt = clock.now + (task.recurrence.from === 'completion' ? 3 * DAY : 0);
      open.set(title, { task, title, doneAt: next.doneAt });
      if (next.doneAt > clock.now) continue;
    }
    granted(await me.post(`/v1/tasks/${task.id}/complete`));
    const successor = await waitFor(async () => granted(await me.get(`/v1/series/${task.series}?limit=1`)).items
      .find((one) => one.occurrence === task.occurrence + 1), `the one after ${title} of ${task.due}`, 30_000);
    open.set(title, { task: successor, title });
  }
  const all = await fired();
  for (const { title, due, recurrence } of tasks) {
    const mine = all.filter((event) => event.after.title === title);
    const instants = mine.map((event) => event.reminder.at);
    assert.equal(new Set(instants).size, instants.length, 'each once');
    for (const { at, reminder } of mine) assert.ok(micros(at) >= micros(reminder.at), 'none early');
    const { items } = granted(await me.post('/v1/recurrence/preview', { rule: recurrence.rule, due, time_zone: zone, n: 60 }));
    const preview = items.filter((item) => Date.parse(item.due_at) < END);
    console.log(`${title}: ${recurrence.rule}, ${due}\n  fired    ${summary(instants)}`);
    if (recurrence.from === 'completion') continue; // a preview cannot know when it will be done
    console.log(`  preview  ${summary(preview.map((item) => item.due_at))}`);
    for (const { due: on, note } of preview.filter((item) => item.note)) console.log(`           ${on}: ${note}`);
    assert.deepEqual(instants.map(micros), preview.map((item) => micros(item.due_at)), 'what fired is what the preview said');
  }
  const late = Math.max(...all.map((event) => Number(micros(event.at) - micros(event.reminder.at)) / 1000));
  console.log(`${all.length} fired, each once, none early, the latest ${late.toFixed(0)} ms after its instant`);
} finally {
  await bench.stop();
}
