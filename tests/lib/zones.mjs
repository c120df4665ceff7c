// SPDX-License-Identifier: Apache-2.0
// Time zone data of our own, made by zic as tzdata is.
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';

// A new folder of zones for TZDIR: UTC, Europe/Zurich (always +1), and these, which go from +1 to that offset in 2029.
export function makeZones(dir, offsets) {
  mkdirSync(dir);
  const own = Object.entries(offsets).map(([name, offset]) => `Zone ${name} 1 - +01 2029 Jan 1\n ${offset} - %z\n`);
  writeFileSync(`${dir}.zi`, `Zone UTC 0 - UTC\nZone Europe/Zurich 1 - +01\n${own.join('')}`);
  execFileSync('zic', ['-d', dir, `${dir}.zi`], { env: { PATH: `${process.env.PATH}:/usr/sbin` } });
  return dir;
}
