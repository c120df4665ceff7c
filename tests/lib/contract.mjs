// SPDX-License-Identifier: Apache-2.0
// The descriptions of the interface (schema/*.yaml) as something to hold answers and messages against: npm's yaml reads
// them, npm's ajv knows JSON Schema.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import Ajv from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import { root } from './program.mjs';

export const METHODS = ['get', 'put', 'post', 'patch', 'delete', 'head', 'options', 'trace'];

// Headers that HTTP itself, or every answer, has.
const USUAL_HEADERS = ['connection', 'content-length', 'content-type', 'date', 'keep-alive', 'transfer-encoding', 'vary',
  'cache-control', 'x-content-type-options', 'www-authenticate', 'allow', 'strict-transport-security'];

const escaped = (name) => name.replaceAll('~', '~0').replaceAll('/', '~1');

// A description: JSON pointers into it lead to validators.
export class Description {
  constructor(text) {
    this.text = text;
    this.doc = parse(text);
    this.ajv = addFormats(new Ajv({ strict: false, allErrors: true, validateSchema: false }));
    this.ajv.addSchema(this.doc, 'doc');
  }

  static read(name) {
    return new Description(readFileSync(join(root, 'schema', name), 'utf8'));
  }

  // What stands there, references followed; and where it really stands.
  at(pointer) {
    let value = this.doc;
    let where = '';
    for (const part of pointer.split('/').slice(1)) {
      const key = part.replaceAll('~1', '/').replaceAll('~0', '~');
      value = value?.[key];
      where += `/${part}`;
      while (value?.$ref) {
        where = value.$ref.slice(1);
        value = this.at(where).value;
      }
    }
    return { value, where };
  }

  resolve(schema) {
    return schema?.$ref ? this.resolve(this.at(schema.$ref.slice(1)).value) : schema;
  }

  // Why a value does not fit the schema that stands at a pointer; also if it has fields that are not described there.
  faults(pointer, value) {
    const { value: schema, where } = this.at(pointer);
    assert.ok(schema, `nothing is described at ${pointer}`);
    const validate = this.ajv.getSchema(`doc#${encodeURI(where)}`);
    const wrong = validate(value) ? [] : validate.errors.map((error) => `${error.instancePath}: ${error.message}`);
    return [...wrong, ...this.undescribed(value, schema).map((field) => `${field} is not described`)];
  }

  undescribed(value, given, at = '') {
    const parts = this.parts(given);
    if (Array.isArray(value)) {
      const items = parts.find((part) => part.items)?.items;
      return items ? value.flatMap((item, i) => this.undescribed(item, items, `${at}/${i}`)) : [];
    }
    const known = Object.assign({}, ...parts.map((part) => part.properties));
    if (parts.some((part) => part.additionalProperties === true)) return []; // it may have any others
    if (value === null || typeof value !== 'object' || Object.keys(known).length === 0) return [];
    return Object.entries(value).flatMap(([key, field]) =>
      (key in known ? this.undescribed(field, known[key], `${at}/${key}`) : [`${at}/${key}`]));
  }

  // A schema and all that it is put together from.
  parts(given) {
    const schema = this.resolve(given);
    if (!schema || typeof schema !== 'object') return [];
    return [schema, ...[schema.allOf, schema.oneOf, schema.anyOf].flatMap((some) => (some ?? []).flatMap((part) => this.parts(part)))];
  }

  // The operations of an OpenAPI description.
  operations() {
    return Object.entries(this.doc.paths).flatMap(([path, item]) => METHODS.filter((method) => item[method])
      .map((method) => ({ ...item[method], path, method: method.toUpperCase(), pointer: `/paths/${escaped(path)}/${method}` })));
  }

  // Holds the answer to a request against the description: status, headers, content type, body.
  check(method, path, answer) {
    const operation = `/paths/${escaped(path)}/${method.toLowerCase()}`;
    const name = `${method} ${path} ${answer.status}`;
    const { responses } = this.at(operation).value;
    const status = String(answer.status) in responses ? answer.status : 'default';
    assert.ok(status !== 'default' || answer.status >= 400, `${name} is not described`);
    const response = this.at(`${operation}/responses/${status}`).value;
    assert.ok(response, `${name} is not described`);
    this.checkHeaders(name, response.headers ?? {}, answer.headers);
    const type = answer.headers.get('content-type')?.split(';')[0];
    if (!response.content) {
      assert.equal(answer.text, '', `${name} has no body`);
      return;
    }
    assert.ok(type in response.content, `${name} is ${type}, which is not described`);
    if (!/json/.test(type)) return;
    const pointer = `${operation}/responses/${status}/content/${escaped(type)}/schema`;
    assert.deepEqual(this.faults(pointer, answer.body), [], `${name}: ${answer.text}`);
  }

  checkHeaders(name, described, headers) {
    const known = Object.fromEntries(Object.entries(described).map(([key, header]) => [key.toLowerCase(), this.resolve(header)]));
    for (const [key, value] of headers) {
      if (USUAL_HEADERS.includes(key)) continue;
      assert.ok(key in known, `${name} has a header ${key}, which is not described`);
      const schema = this.resolve(known[key].schema);
      const typed = schema.type === 'integer' ? Number(value) : value;
      assert.ok(this.ajv.validate(schema, typed), `${name}: ${key}: ${value}`);
    }
  }
}

// The routes of the program, as its table has them.
export function routes() {
  const text = readFileSync(join(root, 'gateway/routes.c'), 'utf8');
  const prefixes = Object.fromEntries([...text.matchAll(/^#define (\w+) "([^"]+)"/gm)].map(([, name, value]) => [name, value]));
  const rows = [...text.matchAll(/^ {4}\{METHOD_(\w+), (?:(\w+)\s*)?(?:"([^"]*)")?,\s*ROUTE_\w+,\s*\w+,/gm)];
  const n = text.match(/METHOD_/g).length;
  assert.equal(rows.length, n, 'every row of routes.c was understood');
  return rows.map(([, method, prefix, rest]) => `${method} ${prefixes[prefix] ?? ''}${rest ?? ''}`);
}
