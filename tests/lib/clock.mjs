// SPDX-License-Identifier: Apache-2.0
// A wall clock that a test sets, by libfaketime (Debian), for the programs that it starts: steps forward and back while
// they run. What libfaketime makes of it: clock_gettime says the time that is set, and a timer that is set to an instant
// goes off then, by the clock as it was when the timer was set. It does not tell timers that the clock was set
// (TFD_TIMER_CANCEL_ON_SET), as the kernel does; so the program has to find out by itself. The monotonic clock, by which
// it measures durations, is left alone.
import { existsSync, readdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

function library() {
  for (const folder of readdirSync('/usr/lib')) {
    const path = join('/usr/lib', folder, 'faketime/libfaketimeMT.so.1');
    if (existsSync(path)) return path;
  }
  throw new Error('there is no libfaketime (apt-get install libfaketime)');
}

export class Clock {
  constructor(dir) {
    this.file = join(dir, 'clock');
    this.highest = -Infinity; // that it ever showed, in ms
    this.#move(0);
  }

  #move(aheadMs) {
    if (this.aheadMs !== undefined) this.highest = Math.max(this.highest, this.now);
    this.aheadMs = aheadMs;
    writeFileSync(`${this.file}.new`, `${aheadMs < 0 ? '-' : '+'}${(Math.abs(aheadMs) / 1000).toFixed(3)}\n`);
    renameSync(`${this.file}.new`, this.file); // so nobody reads half of it
    this.highest = Math.max(this.highest, this.now);
  }

  // In ms.
  get now() { return Date.now() + this.aheadMs; }

  // The instant in so many ms from now, by this clock.
  after(ms) { return new Date(this.now + ms).toISOString(); }

  set(instant) { this.#move(Date.parse(instant) - Date.now()); }

  step(ms) { this.#move(this.aheadMs + ms); }

  // Lets a program that is started next go by this clock.
  of(program) {
    program.extra = {
      ...program.extra,
      LD_PRELOAD: library(),
      FAKETIME_TIMESTAMP_FILE: this.file,
      FAKETIME_NO_CACHE: '1',
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
      NO_FAKE_STAT: '1',
      ASAN_OPTIONS: `${program.environment().ASAN_OPTIONS}:verify_asan_link_order=0`,
    };
    return program;
  }
}
