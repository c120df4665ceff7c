// SPDX-License-Identifier: Apache-2.0
// What describes the interface is well-formed as others see it, and its examples work: requests and messages are sent,
// answers are compared.
import { describe, it } from 'node:test';
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import Ajv from 'ajv';
import addFormats from 'ajv-formats';
import { root } from '../lib/program.mjs';
import { Description } from '../lib/contract.mjs';

const openapi = Description.read('openapi.yaml');
const asyncapi = Description.read('asyncapi.yaml');
const isExample = (at) => /\/examples?(\/|$)/.test(at);

// Every place of a description that has `key`, as [pointer, what has it].
function places(value, key, at = '') {
  if (value === null || typeof value !== 'object') return [];
  const found = key in value && !isExample(at) ? [[at, value]] : [];
  return [...found, ...Object.entries(value).flatMap(([name, part]) =>
    places(part, key, `${at}/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`))];
}

describe('the descriptions', { timeout: 300_000 }, () => {
  it('openapi.yaml is valid OpenAPI 3.1, says openapi-spec-validator', async () => {
    assert.match(openapi.doc.openapi, /^3\.1\./);
    const { code, text } = await new Promise((done) => {
      execFile(join(root, 'tests/.venv/bin/openapi-spec-validator'), [join(root, 'schema/openapi.yaml')],
        (error, stdout, stderr) => done({ code: error?.code ?? 0, text: stdout + stderr }));
    });
    assert.equal(code, 0, text);
  });

  it('asyncapi.yaml is valid AsyncAPI 3.0, says the schema of those who define it', () => {
    assert.match(asyncapi.doc.asyncapi, /^3\.0\./);
    const schema = JSON.parse(readFileSync(join(root, 'tests/node_modules/@asyncapi/specs/schemas/3.0.0-without-$id.json'), 'utf8'));
    const validate = addFormats(new Ajv({ strict: false, allErrors: true })).compile(schema);
    assert.ok(validate(asyncapi.doc), JSON.stringify(validate.errors, null, 1));
    assert.ok(!validate({ ...asyncapi.doc, channels: [] }), 'it finds fault with what is wrong');
  });

  for (const [name, description] of [['openapi.yaml', openapi], ['asyncapi.yaml', asyncapi]]) {
    it(`${name}: every reference leads somewhere, and every schema can be used`, () => {
      const references = places(description.doc, '$ref');
      assert.ok(references.length > 10);
      for (const [at, { $ref }] of references) assert.ok(description.at($ref.slice(1)).value, `${at}: ${$ref}`);
      for (const schema of Object.keys(description.doc.components.schemas)) {
        assert.ok(description.ajv.getSchema(`doc#/components/schemas/${schema}`), schema);
      }
    });

    it(`${name}: what is defined is used`, () => {
      const used = new Set(places(description.doc, '$ref').map(([, { $ref }]) => $ref));
      for (const [kind, some] of Object.entries(description.doc.components)) {
        if (kind === 'securitySchemes') continue;
        for (const one of Object.keys(some)) assert.ok(used.has(`#/components/${kind}/${one}`), `${kind}/${one} is not used`);
      }
    });
  }

  it('the examples fit their schemas, and have no field that is not described', () => {
    const examples = places(openapi.doc, 'example').filter(([, one]) => one.schema);
    assert.ok(examples.length > 20);
    for (const [at, { example }] of examples) assert.deepEqual(openapi.faults(`${at}/schema`, example), [], at);
    const messages = Object.entries(asyncapi.doc.components.messages);
    for (const [name, { examples: some }] of messages) {
      assert.ok(some?.length > 0, `${name} has an example`);
      for (const { payload, headers } of some) {
        assert.deepEqual(asyncapi.faults(`/components/messages/${name}/payload`, payload), [], name);
        if (headers) assert.deepEqual(asyncapi.faults(`/components/messages/${name}/headers`, headers), [], name);
      }
    }
  });
});
