// SPDX-License-Identifier: Apache-2.0
// The real program against a real PostgreSQL, as system tests need it: every Bench has a directory, a cluster and
// ports of its own, and stops what it started by its pid.
//
//   TASKWIRE_BIN     the program to test (default build/asan/taskwire)
//   TASKWIRE_SEED    of random tests; printed by each
//   TASKWIRE_TEST_KAFKA=HOST:PORT   a broker: then all programs run in Kafka mode, but where a test says {kafka: null}
import { spawn, execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { mkdtempSync, mkdirSync, rmSync, openSync, closeSync, readFileSync, chmodSync, existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join, dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Kafka } from './kafka.mjs';
import { waitFor } from './wait.mjs';

const run = promisify(execFile);
export const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..');
const binary = resolve(process.env.TASKWIRE_BIN ?? join(root, 'build/asan/taskwire'));

const bareEnvironment = {
  PATH: process.env.PATH,
  ASAN_OPTIONS: 'detect_leaks=1:abort_on_error=0:exitcode=99',
  UBSAN_OPTIONS: 'print_stacktrace=1',
  TSAN_OPTIONS: 'exitcode=98',
};

// What a sanitizer said, from its first report on; empty if nothing. Looking only at exit codes would miss what it said
// of a program that was killed afterwards.
function reports(text) {
  const at = text.search(/^.*((WARNING|ERROR|FATAL): [A-Za-z]+Sanitizer|: runtime error: )/m);
  return at < 0 ? '' : text.slice(at, at + 8000);
}

// Runs functions of deploy/lib/postgres.sh.
async function postgres(script, ...args) {
  const { stdout } = await run('bash', ['-c', `. "${root}/deploy/lib/postgres.sh"; ${script}`, 'bash', ...args], {
    maxBuffer: 64 * 1024 * 1024,
  });
  return stdout.trim();
}

// A private PostgreSQL.
export class Cluster {
  constructor(dir, settings = []) {
    this.dir = dir;
    this.settings = settings;
    this.urls = new Map(); // by database, while it runs
  }

  static async start(dir, settings) {
    const cluster = new Cluster(dir, settings);
    await cluster.start();
    return cluster;
  }

  async start() {
    this.urls.clear();
    await postgres('pg_start "$@"', this.dir, ...this.settings.flatMap((setting) => ['-c', setting]));
  }

  async stop(mode = 'fast') {
    await postgres('pg_stop "$@"', this.dir, mode);
  }

  async remove() {
    await postgres('pg_remove "$@"', this.dir);
  }

  async pid() {
    return Number(await postgres('pg_postmaster_pid "$@"', this.dir));
  }

  // What kill -9 of everything looks like: no shutdown, no checkpoint.
  async kill() {
    const pid = await this.pid();
    await postgres('pg_stop "$@"', this.dir, 'immediate');
    return pid;
  }

  url(database = 'postgres') {
    if (!this.urls.has(database)) this.urls.set(database, postgres('pg_url "$@"', this.dir, database));
    return this.urls.get(database);
  }

  // Rows of a query as arrays of text; run as superuser, or by another login.
  async query(sql, database = 'taskwire', by = 'postgres') {
    const text = await postgres('pg_as "$(pg_bin)/psql" -X -q -At -F $\'\\x1f\' -v ON_ERROR_STOP=1 -d "$1" -c "$2"',
      (await this.url(database)).replace('//postgres@', `//${by}@`), sql);
    return text === '' ? [] : text.split('\n').map((line) => line.split('\x1f'));
  }

  // One value of a query.
  async value(sql, database) {
    return (await this.query(sql, database))[0]?.[0];
  }
}

// A running taskwire.
export class Taskwire {
  constructor(dir, databaseUrl, settings = {}) {
    this.dir = dir;
    this.settings = { DATABASE_URL: databaseUrl, ...settings };
    this.extra = {}; // of the environment, what is no setting
    this.exit = null;
  }

  get log() {
    return existsSync(join(this.dir, 'log')) ? readFileSync(join(this.dir, 'log'), 'utf8') : '';
  }

  environment() {
    const own = Object.fromEntries(Object.entries({
      LISTEN: '127.0.0.1:0',
      ADMIN_LISTEN: '127.0.0.1:0',
      DATA_DIR: join(this.dir, 'data'),
      REGISTRATION: 'open',
      RATE_LIMIT: '0',
      RATE_LIMIT_ANONYMOUS: '0',
      CONNECTION_LIMIT: '0',
      ...this.settings,
    }).map(([key, value]) => [`TASKWIRE_${key}`, String(value)]));
    return { ...bareEnvironment, ...own, ...this.extra };
  }

  // Starts it without waiting.
  spawn() {
    mkdirSync(join(this.dir, 'data'), { recursive: true });
    const log = openSync(join(this.dir, 'log'), 'a');
    this.stdout = '';
    this.exit = null;
    this.process = spawn(binary, ['serve'], { env: this.environment(), stdio: ['ignore', 'pipe', log] });
    closeSync(log);
    this.process.stdout.on('data', (chunk) => { this.stdout += chunk; });
    const mine = this.process;
    this.ended = new Promise((done) => {
      const end = (exit) => {
        this.exit = exit;
        done(exit);
      };
      mine.on('exit', (code, signal) => end({ code, signal }));
      mine.on('error', (error) => end({ code: null, signal: null, error: error.message }));
    });
    return this;
  }

  // Starts it and waits until it is ready. Ports are kept over restarts, so that clients find it again.
  async start() {
    this.spawn();
    await waitFor(() => this.stdout.includes('listening on ') || this.exit, 'taskwire listens', 60_000);
    if (this.exit) throw new Error(`taskwire ended with ${JSON.stringify(this.exit)}:\n${this.log.slice(-2000)}`);
    this.url = /listening on (\S+)/.exec(this.stdout)[1];
    this.settings.LISTEN = new URL(this.url).host;
    const admin = /admin=(\S+)/.exec(this.log.slice(this.log.lastIndexOf('main: started')));
    this.adminUrl = admin?.[1];
    if (this.adminUrl) this.settings.ADMIN_LISTEN = new URL(this.adminUrl).host;
    return this;
  }

  get pid() {
    return this.process.pid;
  }

  signal(name) {
    if (!this.exit) this.process.kill(name);
  }

  async kill() {
    this.signal('SIGKILL');
    return this.ended;
  }

  // Asks it to end and answers its exit; throws if a sanitizer had something to say, in this run or an earlier one.
  async stop() {
    if (this.process && !this.exit) {
      this.signal('SIGCONT');
      this.signal('SIGTERM');
      await this.ended;
    }
    const said = reports(this.log);
    if (said) throw new Error(`a sanitizer found something:\n${said}`);
    return this.exit;
  }

  async metric(name) {
    const text = await (await fetch(`${this.adminUrl}/metrics`)).text();
    let sum;
    for (const line of text.split('\n')) {
      const match = /^([a-z_]+)(?:\{[^}]*\})? (\S+)$/.exec(line);
      if (match && match[1] === name) sum = (sum ?? 0) + Number(match[2]);
    }
    return sum;
  }
}

// A directory, a cluster with a migrated database of the ordinary login, and one taskwire or more. With `kafka`, a Kafka of
// tests/lib/kafka.mjs, they run in Kafka mode; the caller removes it. All programs of one database have the same topics.
export class Bench {
  static async start({ settings = {}, cluster = [], start = true, kafka = Kafka.shared } = {}) {
    const bench = new Bench();
    bench.kafka = kafka;
    bench.dir = mkdtempSync(join(tmpdir(), 'tw-'));
    bench.programs = [];
    chmodSync(bench.dir, 0o755);
    bench.cluster = new Cluster(join(bench.dir, 'pg'), cluster);
    try {
      await bench.cluster.start();
      await bench.cluster.query('CREATE ROLE taskwire LOGIN CREATEROLE', 'postgres');
      bench.databaseUrl = await bench.database('taskwire');
      if (start) bench.taskwire = await bench.program(settings).start();
      return bench;
    } catch (error) {
      await bench.stop().catch(() => {});
      throw error;
    }
  }

  // Another database of the ordinary login, still empty; answers its URL.
  async database(name) {
    await this.cluster.query(`CREATE DATABASE ${name} OWNER taskwire`, 'postgres');
    return (await this.cluster.url(name)).replace('//postgres@', '//taskwire@');
  }

  // What the names of the topics of a database begin with: nobody else's do.
  prefix(databaseUrl = this.databaseUrl) {
    return `${basename(this.dir)}-${/\/([a-z0-9_]+)(\?|$)/.exec(databaseUrl)?.[1] ?? 'other'}.`;
  }

  // The settings of Kafka mode, if that is how this bench runs its programs.
  kafkaSettings(databaseUrl) {
    return this.kafka ? { KAFKA_BROKERS: this.kafka.brokers, KAFKA_TOPIC_PREFIX: this.prefix(databaseUrl) } : {};
  }

  // Another taskwire on the same database; not started yet.
  program(settings = {}, databaseUrl = this.databaseUrl) {
    const dir = join(this.dir, `taskwire-${this.programs.length}`);
    mkdirSync(dir);
    const program = new Taskwire(dir, databaseUrl, { ...this.kafkaSettings(databaseUrl), ...settings });
    this.programs.push(program);
    return program;
  }

  // A shared broker would gather the topics of every test. One that the test has stopped is going away anyway.
  async dropTopics() {
    if (!this.kafka.isShared) return;
    await this.kafka.deleteTopics(...await this.kafka.topics(basename(this.dir)));
    await this.kafka.close();
  }

  // Stops everything. A program that crashed, or a sanitizer's finding, is an error.
  async stop() {
    const faults = [];
    for (const program of this.programs) {
      const killed = program.exit?.signal === 'SIGKILL';
      try {
        const exit = await program.stop();
        if (exit && !killed && exit.code !== 0 && !program.mayFail) {
          faults.push(`taskwire ended with ${JSON.stringify(exit)}:\n${program.log.slice(-4000)}`);
        }
      } catch (error) {
        faults.push(error.message);
      }
    }
    if (this.kafka) await this.dropTopics().catch((error) => faults.push(`the topics: ${error.message}`));
    await this.cluster.remove();
    if (!process.env.TASKWIRE_KEEP) rmSync(this.dir, { recursive: true, force: true });
    if (faults.length) throw new Error(faults.join('\n'));
  }
}

// Runs `taskwire ARGS` and answers {code, stdout, stderr}; fails if a sanitizer had something to say.
export async function command(args, environment = {}, input) {
  return new Promise((done, fail) => {
    const child = spawn(binary, args, { env: { ...bareEnvironment, ...environment } });
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (chunk) => { stdout += chunk; });
    child.stderr.on('data', (chunk) => { stderr += chunk; });
    child.on('close', (code, signal) => {
      const said = reports(stderr);
      if (said) fail(new Error(`a sanitizer found something:\n${said}`));
      else done({ code, signal, stdout, stderr });
    });
    child.stdin.on('error', () => {});
    child.stdin.end(input ?? '');
  });
}
