// SPDX-License-Identifier: Apache-2.0
// Holds the report of the suite (index.json) against the table of README.md: `judge.mjs INDEX README`. Each case must be
// as the table says, and OK if the table does not know it.
import { readFileSync } from 'node:fs';

const [, , index, readme] = process.argv;
const found = JSON.parse(readFileSync(index)).taskwire;

// Rows `| 3.1, 6.4.* | behaviour | close | … |`.
const expected = readFileSync(readme, 'utf8').split('\n').filter((line) => /^\| \d/.test(line)).map((line) => {
  const [cases, behaviour, close] = line.split('|').slice(1).map((cell) => cell.trim());
  const pattern = cases.split(', ').map((one) => one.replaceAll('.', '\\.').replaceAll('*', '.*')).join('|');
  return { pattern: new RegExp(`^(${pattern})$`), behaviour, close };
});

const counts = {};
const wrong = [];
for (const [id, { behavior, behaviorClose }] of Object.entries(found)) {
  const row = expected.find(({ pattern }) => pattern.test(id)) ?? { behaviour: 'OK', close: 'OK' };
  counts[behavior] = (counts[behavior] ?? 0) + 1;
  if (row.behaviour !== behavior || row.close !== behaviorClose) {
    wrong.push(`case ${id}: ${behavior}, its end ${behaviorClose}; expected ${row.behaviour}, ${row.close}`);
  }
}
for (const line of wrong) console.log(line);
console.log(`${Object.keys(found).length} cases: ${Object.entries(counts).map(([name, n]) => `${n} ${name}`).join(', ')}`);
process.exit(wrong.length > 0 || Object.keys(found).length === 0 ? 1 : 0);
