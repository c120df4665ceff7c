// SPDX-License-Identifier: Apache-2.0
// Waiting for conditions, never for time; exact instants; random numbers that can be had again.

// Asks until the answer is truthy, and gives it back; fails, naming what was waited for, when the limit is reached.
export async function waitFor(condition, what, limitMs = 20_000) {
  const end = performance.now() + limitMs;
  for (;;) {
    const answer = await condition();
    if (answer) return answer;
    if (performance.now() > end) throw new Error(`waited ${limitMs} ms in vain: ${what}`);
    await new Promise((next) => { setTimeout(next, 20); });
  }
}

// Microseconds since 1970 of an instant.
export function micros(instant) {
  const [, whole, fraction = ''] = /^(.*?)(?:\.(\d+))?Z$/.exec(instant);
  return BigInt(Date.parse(`${whole}Z`)) * 1000n + BigInt(fraction.padEnd(6, '0'));
}

// A small generator of random numbers with a seed (mulberry32), so that a failed run can be run again.
export function random(seed) {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  return {
    next,
    below: (n) => Math.floor(next() * n),
    pick: (items) => items[Math.floor(next() * items.length)],
    chance: (p) => next() < p,
  };
}
