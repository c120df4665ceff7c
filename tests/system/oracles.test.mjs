// SPDX-License-Identifier: Apache-2.0
// Rules and time zones against programs of others: python-dateutil and rrule.js for the dates of random rules, Python's
// zoneinfo for local times around every clock change. TASKWIRE_SEED repeats a run.
import { describe, it, after } from 'node:test';
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import rrule from 'rrule';

const here = path.dirname(fileURLToPath(import.meta.url));
const binary = process.env.TASKWIRE_BIN ?? path.join(here, '../../build/asan/taskwire');
const oracle = path.join(path.dirname(binary), 'tests/oracle');
const python = path.join(here, '../.venv/bin/python');
const N_RULES = 20_000;
const N_DATES = 4;
// So long the others may search for the dates of a rule, which they do day by day.
const HORIZON_YEARS = { DAILY: 1, WEEKLY: 2, MONTHLY: 3, YEARLY: 6 };

const dir = mkdtempSync(path.join(tmpdir(), 'taskwire-oracle-'));
let nAsked = 0;

// The others look for dates until one lies behind UNTIL, or until the year 9999 if a rule has none any more. So they are
// asked about years that are nearer to that: the calendar is the same every 400 years, its weekdays too.
const AGES = 7600;
const age = (text, years) => text.replace(/(?<=^|[ =])\d{4}(?=\d{4}|-)/g, (year) => `${Number(year) + years}`);
const toLate = (text) => age(text, AGES);
const fromLate = (text) => age(text, -AGES);

// Starts a program on lines, by files: it runs while this one is busy. Answers what waits for the lines that it writes.
function ask(program, args, lines = []) {
  const file = path.join(dir, `${nAsked++}`);
  writeFileSync(`${file}.in`, lines.map((line) => `${line}\n`).join(''));
  const child = spawn(program, args, { stdio: [openSync(`${file}.in`, 'r'), openSync(`${file}.out`, 'w'), 'inherit'] });
  const ended = new Promise((resolve, reject) => { child.on('error', reject).on('close', resolve); });
  return async () => {
    assert.equal(await ended, 0, `${program} failed`);
    return readFileSync(`${file}.out`, 'utf8').split('\n').slice(0, -1);
  };
}

// mulberry32
function randomSource(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const weekdays = ['MO', 'TU', 'WE', 'TH', 'FR', 'SA', 'SU'];
const basic = (date) => date.toISOString().slice(0, 10).replaceAll('-', '');

// Rules of the subset, each part as often as not.
class Rules {
  constructor(seed) {
    this.random = randomSource(seed);
  }

  int(low, high) { return low + Math.floor(this.random() * (high - low + 1)); }

  chance(p) { return this.random() < p; }

  some(values, most) {
    const out = new Set();
    const n = this.int(1, most);
    while (out.size < n) out.add(values[this.int(0, values.length - 1)]);
    return [...out];
  }

  monthDays() { return this.some(Array.from({ length: 62 }, (_, i) => (i < 31 ? i + 1 : 30 - i)), 4); }

  nths(most) { return this.some(weekdays, 2).map((day) => `${this.int(1, most) * (this.chance(0.3) ? -1 : 1)}${day}`); }

  // The parts of a rule by months or years that choose days.
  days(freq, hasMonths) {
    const kind = this.int(0, freq === 'YEARLY' && !hasMonths ? 7 : 6);
    if (kind === 0) return {};
    if (kind === 1) return { BYMONTHDAY: this.monthDays() };
    if (kind === 2) return { BYDAY: this.nths(freq === 'YEARLY' && !hasMonths ? 53 : 5) };
    if (kind === 3) return { BYDAY: this.some(weekdays, 3) };
    if (kind === 4) return { BYDAY: this.some(weekdays, 5), BYMONTHDAY: this.monthDays() };
    if (kind === 5) return { BYDAY: this.some(weekdays, 5), BYSETPOS: this.some([1, 2, 3, 4, -1, -2, -3], 2) };
    if (kind === 6) return { BYMONTHDAY: this.monthDays(), BYSETPOS: this.some([1, 2, -1], 1) };
    return { BYYEARDAY: this.some([1, 31, 32, 59, 60, 61, 100, 200, 365, 366, -1, -2, -60, -365, -366], 3) };
  }

  next() {
    // The others take long over days, in which there is little to get wrong.
    const freq = this.chance(0.1) ? 'DAILY' : ['WEEKLY', 'MONTHLY', 'YEARLY'][this.int(0, 2)];
    const parts = {};
    if (this.chance(0.3)) parts.BYMONTH = this.some([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], 4);
    if (freq === 'DAILY' || freq === 'WEEKLY') {
      if (this.chance(0.5)) parts.BYDAY = this.some(weekdays, 4);
      if (freq === 'DAILY' && this.chance(0.3)) parts.BYMONTHDAY = this.monthDays();
    } else {
      Object.assign(parts, this.days(freq, 'BYMONTH' in parts));
    }
    const interval = this.chance(0.5) ? 1 : this.int(1, freq === 'DAILY' ? 40 : 6);
    const wkst = weekdays[this.int(0, 6)];
    const due = new Date(Date.UTC(this.int(1990, 2060), this.int(0, 11), this.int(1, 31)));
    const end = new Date(Date.UTC(due.getUTCFullYear() + HORIZON_YEARS[freq], 11, 31));
    const limit = this.chance(0.3) ? `COUNT=${this.int(1, N_DATES + 2)}` : `UNTIL=${basic(end)}`;
    const lists = Object.entries(parts).map(([name, values]) => `;${name}=${values.join(',')}`).join('');
    const rest = `${lists};WKST=${wkst}`;
    return {
      rule: `FREQ=${freq};INTERVAL=${interval};${parts.BYMONTH || parts.BYMONTHDAY || parts.BYSETPOS || freq === 'YEARLY' ? `UNTIL=${basic(end)}` : limit}${rest}`,
      single: `FREQ=${freq};UNTIL=${basic(end)}${rest}`,
      due: due.toISOString().slice(0, 10),
    };
  }
}

const utc = (text) => new Date(`${text}T00:00:00Z`);
const day = (date) => date.toISOString().slice(0, 10);

// A day that two positions choose is one day: BYSETPOS chooses from a set (RFC 5545 §3.3.10, "the set of recurrence
// instances"; §3.8.5.3, "duplicate instances are ignored"). rrule.js 2.8.1 gives it twice, as in
// FREQ=MONTHLY;BYDAY=MO;BYSETPOS=3,-2 for a month with four Mondays, and counts it twice; so its repetitions are left out
// here, and rules with BYSETPOS have no COUNT.
function byRruleJs(text, start, n) {
  const dates = new Set();
  new rrule.RRule({ ...rrule.RRule.parseString(text), dtstart: utc(start) }, true).all((date) => {
    if (dates.size < n) dates.add(day(date));
    return dates.size < n;
  });
  return [...dates].join(' ');
}

// Of so many it is also asked where they start; the others are asked from there on.
const isAsked = (i) => i % 4 === 0;

describe('other programs agree', { timeout: 300_000 }, () => {
  const seed = Number(process.env.TASKWIRE_SEED ?? Math.floor(Math.random() * 2 ** 31));
  after(() => rmSync(dir, { recursive: true }));

  it('on the dates of random rules', async (t) => {
    t.diagnostic(`seed ${seed}`);
    const rules = new Rules(seed);
    const all = Array.from({ length: N_RULES }, () => rules.next());
    const ours = await ask(oracle, [], all.map(({ rule, due }) => `R\t${rule}\t${due}\t${N_DATES}`))();
    const refused = ours.filter((line) => line.startsWith('refused')).length;
    assert.ok(refused < N_RULES / 100, `${refused} of ${N_RULES} are refused`);
    const known = all.map((one, i) => ({ ...one, ours: /^refused: The rule never matches|^$/.test(ours[i]) ? 'never' : ours[i] }))
      .map((one) => ({ ...one, start: one.ours.split(' ')[0] }));
    const questions = known.map(({ rule, single, due, start }, i) =>
      (isAsked(i) || start === 'never' ? [rule, due, N_DATES, single] : [rule, start, N_DATES, '']).map(String).map(toLate).join('\t'));
    const halves = [questions.slice(0, N_RULES / 2), questions.slice(N_RULES / 2)];
    const dateutil = halves.map((half) => ask(python, [path.join(here, '../oracle/dates.py')], half));
    const js = known.map(({ rule, single, due, start }, i) => {
      const first = isAsked(i) || start === 'never' ? byRruleJs(toLate(single), toLate(due), 1) : toLate(start);
      return first === '' ? 'never' : fromLate(byRruleJs(toLate(rule), first, N_DATES));
    });
    const py = (await Promise.all(dateutil.map((answers) => answers()))).flat().map(fromLate);
    const differing = known.map((one, i) => ({ ...one, dateutil: py[i], js: js[i] })).filter((one) => one.ours !== one.dateutil || one.ours !== one.js);
    t.diagnostic(`${known.reduce((n, one) => n + one.ours.split(' ').length, 0)} dates`);
    assert.deepEqual(differing.slice(0, 5), [], `${differing.length} of ${N_RULES} differ`);
  });

  it('on local times around every clock change from 2020 to 2037 in every zone', async (t) => {
    const probes = (await ask(python, [path.join(here, '../oracle/zones.py')])()).map((line) => line.split('\t'));
    const ours = await ask(oracle, [], probes.map(([zone, local]) => `Z\t${zone}\t${local}`))();
    const differing = probes.map((probe, i) => [...probe, ours[i]]).filter(([, , seconds, fit, mine]) => mine !== `${seconds} ${fit}`);
    assert.deepEqual(differing.slice(0, 5), [], `${differing.length} of ${probes.length} differ`);
    t.diagnostic(`${probes.length} local times in ${new Set(probes.map(([zone]) => zone)).size} zones`);
    assert.ok(probes.filter(([, , , fit]) => fit !== 'plain').length > 10_000);
  });
});
