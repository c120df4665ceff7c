// SPDX-License-Identifier: Apache-2.0
// What an operator meets: the command line, settings, exit codes, health, metrics, and a database that goes away.
import { describe, it, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Bench, command } from '../lib/program.mjs';
import { Client, uuid } from '../lib/client.mjs';
import { granted, refused } from '../lib/expect.mjs';
import { connect, createServer } from 'node:net';
import { waitFor } from '../lib/wait.mjs';

const USAGE = 64;
const UNAVAILABLE = 69;
const CONFIG = 78;

describe('operating it', { timeout: 600_000 }, () => {
  let bench;
  let program;
  let me;

  const settings = (values) => Object.fromEntries(Object.entries(values).map(([key, value]) => [`TASKWIRE_${key}`, value]));
  const good = () => ({ DATABASE_URL: bench.databaseUrl, DATA_DIR: join(bench.dir, 'spare'), LISTEN: '127.0.0.1:0', ADMIN_LISTEN: '127.0.0.1:0' });
  const serve = (values) => command(['serve'], settings({ ...good(), ...values }));
  const file = (name, text) => {
    const path = join(bench.dir, name);
    writeFileSync(path, text);
    return path;
  };

  before(async () => {
    bench = await Bench.start({ settings: { GATEWAYS: 2, OUTCOME_TIMEOUT: 1, REGISTRATION: 'closed' } });
    program = bench.taskwire;
    me = await Client.register(program.url);
  });
  after(() => bench?.stop());

  // --- the command line and settings ---

  it('--help tells every command and setting, wherever it stands', async () => {
    for (const args of [['--help'], ['help'], ['serve', '-h'], ['nonsense', '--help']]) {
      const { code, stdout, stderr } = await command(args);
      assert.deepEqual([code, stderr], [0, '']);
      for (const word of ['serve', 'migrate', 'verify', 'config', 'user add EMAIL', 'purge', 'version', '--config', 'LISTEN', 'ADMIN_LISTEN', 'DATABASE_URL',
        'REGISTRATION', 'PUBLIC_URL', 'ALLOWED_ORIGINS', 'TRUSTED_PROXIES', 'DATA_DIR', 'RATE_LIMIT', 'RATE_LIMIT_ANONYMOUS', 'CONNECTION_LIMIT', 'LOG_LEVEL',
        'LOG_FORMAT', 'START_TIMEOUT', 'KAFKA_BROKERS', 'TLS_CERT', 'TLS_KEY']) {
        assert.ok(stdout.includes(word), word);
      }
    }
    for (const args of [['version'], ['--version']]) assert.match((await command(args)).stdout, /^taskwire \d+\.\d+\.\d+\n$/);
  });

  it('a bad command line ends with 64', async () => {
    for (const args of [['nonsense'], ['serve', 'now'], ['--nonsense'], ['--config'], ['--config='], ['user'], ['user', 'add'], ['user', 'delete', 'x'],
      ['serve', '--anchors', 'x'], ['verify', '--time-zone', 'UTC'], ['--config', 'a', '--config', 'b'], ['']]) {
      const { code, stdout, stderr } = await command(args, settings(good()));
      assert.deepEqual([code, stdout], [USAGE, ''], args.join(' '));
      assert.match(stderr, /taskwire: .*--help/);
    }
  });

  it('a bad setting ends the start with 78 and the name of its key', async () => {
    for (const [key, value] of [
      ['LISTEN', 'nonsense'], ['LISTEN', '127.0.0.1:65536'], ['LISTEN', ':8080'], ['ADMIN_LISTEN', '8081'], ['REGISTRATION', 'maybe'],
      ['PUBLIC_URL', 'tasks.example.org'], ['PUBLIC_URL', 'https://example.org/tasks'], ['ALLOWED_ORIGINS', '*'],
      ['ALLOWED_ORIGINS', 'https://a.example,'], ['TRUSTED_PROXIES', 'localhost'], ['RATE_LIMIT', '-1'], ['RATE_LIMIT', 'many'],
      ['RATE_LIMIT_ANONYMOUS', '1.5'], ['LOG_LEVEL', 'loud'], ['LOG_FORMAT', 'xml'], ['START_TIMEOUT', '-1'], ['START_TIMEOUT', '1s'],
      ['GATEWAYS', '0'], ['GATEWAYS', '17'], ['TLS_CERT', '/x'],
      ['KAFKA_BROKERS', 'localhost:nine'], ['KAFKA_ENCODING', 'avro'], ['KAFKA_REPLICATION', '-2'], ['KAFKA_TASK_UPDATES_PARTITIONS', '65'],
      ['KAFKA_NONSENSE', 'x'], ['KAFKA_ACKS', '1'], ['KAFKA_GROUP_ID', 'x'], ['KAFKA_AUTO_OFFSET_RESET', 'earliest'], ['KAFKA_SASL_MECHANISM_FILE', '/nowhere'],
      ['NONSENSE', 'x'], ['listen', '127.0.0.1:0'], ['DATA_DIR', ''], ['DATABASE_URL', ''], ['DATABASE_URL_FILE', '/nowhere'],
      ['LOG_LEVEL_FILE', '/etc/hostname'],
    ]) {
      const values = { ...good(), [key]: value };
      if (key === 'DATABASE_URL_FILE') delete values.DATABASE_URL;
      const { code, stderr } = await command(['serve'], settings(values));
      assert.equal(code, CONFIG, `${key}=${value}: ${stderr}`);
      assert.ok(stderr.includes(`TASKWIRE_${key}`), stderr);
    }
  });

  it('a DATA_DIR or address that cannot be used ends the start with 78 and the name of its key', async () => {
    for (const path of [file('no directory', ''), '/nowhere/at/all', join(bench.dir, 'no directory', 'x')]) {
      const { code, stderr } = await serve({ DATA_DIR: path });
      assert.deepEqual([code, stderr.includes('TASKWIRE_DATA_DIR')], [CONFIG, true], stderr);
    }
    for (const key of ['LISTEN', 'ADMIN_LISTEN']) {
      const { code, stderr } = await serve({ [key]: new URL(program.url).host });
      assert.deepEqual([code, stderr.startsWith(`taskwire: TASKWIRE_${key}: `)], [CONFIG, true], stderr);
      const { [key]: taken, ...others } = { ...good(), [key]: new URL(program.url).host };
      const config = file('taken', `${key.toLowerCase()} = ${taken}\n`);
      const inFile = await command(['serve', '--config', config], settings(others));
      assert.deepEqual([inFile.code, inFile.stderr.startsWith(`taskwire: ${key.toLowerCase()}: `)], [CONFIG, true], inFile.stderr);
    }
  });

  it('a command asks only for the settings that it needs', async () => {
    const url = await bench.database('bare');
    const bare = settings({ DATABASE_URL: url });
    assert.deepEqual(await command(['migrate'], bare).then(({ code, stderr }) => [code, stderr.includes('DATA_DIR')]), [0, false]);
    const added = await command(['user', 'add', 'bare@example.org'], bare, 'correct horse battery staple\n');
    assert.equal(added.code, 0, added.stderr);
    const refusedCommands = [[['verify'], bare, 'DATA_DIR'], [['serve'], bare, 'DATA_DIR'], [['migrate'], settings({ DATA_DIR: bench.dir }), 'DATABASE_URL'],
      [['verify'], settings({ DATA_DIR: bench.dir }), 'DATABASE_URL']];
    for (const [args, environment, key] of refusedCommands) {
      const { code, stderr } = await command(args, environment);
      assert.deepEqual([code, stderr.includes(`TASKWIRE_${key}: it is required`)], [CONFIG, true], `${args} ${stderr}`);
    }
    const anchors = await waitFor(() => {
      const path = join(program.dir, 'data', 'anchors');
      return existsSync(path) && path;
    }, 'there are anchors');
    const copied = await command(['verify', '--anchors', anchors], settings({ DATABASE_URL: bench.databaseUrl }));
    assert.match(copied.stdout, /anchor_blocks=[1-9]/, copied.stderr);
    assert.equal((await command(['config'])).code, 0);
  });

  it('config shows what holds: the environment before the file, values from files, secrets masked', async () => {
    const secret = file('url', 'postgresql://somebody:hunter2@db.example/tasks\n');
    const config = file('config', '# a comment\n\nlisten = 127.0.0.1:1234\nlog_level=warn\n');
    const { code, stdout } = await command(['config', '--config', config], settings({ DATABASE_URL_FILE: secret, LOG_LEVEL: 'error', RATE_LIMIT: '' }));
    assert.equal(code, 0);
    const shown = Object.fromEntries(stdout.trim().split('\n').map((line) => line.split(/=(.*)/s).slice(0, 2)));
    assert.equal(shown.TASKWIRE_LISTEN, '127.0.0.1:1234');
    assert.equal(shown.TASKWIRE_LOG_LEVEL, 'error');
    assert.equal(shown.TASKWIRE_RATE_LIMIT, '1000', 'empty means the default');
    assert.match(shown.TASKWIRE_DATABASE_URL, /^postgresql:\/\/somebody:\*+@db\.example\/tasks$/);
    assert.ok(!stdout.includes('hunter2'));
  });

  it('a config file that is wrong is refused, and the key named', async () => {
    for (const [text, key] of [['colour = red\n', 'colour'], ['LISTEN = 127.0.0.1:0\n', 'LISTEN'], ['rate_limit = many\n', 'rate_limit'],
      ['listen 127.0.0.1:0\n', 'line 1'], ['log_level = info\nlog_level = warn\n', 'log_level']]) {
      const { code, stderr } = await command(['config', '--config', file('config', text)]);
      assert.deepEqual([code, stderr.includes(key)], [CONFIG, true], stderr);
    }
    assert.equal((await command(['config', '--config', '/nowhere'])).code, CONFIG);
  });

  it('user add makes an account while registration is closed; its password comes from stdin or is made up', async () => {
    const add = (args, input) => command(['user', 'add', ...args], settings(good()), input);
    const made = await add(['added@example.org', '--time-zone', 'Asia/Tokyo'], 'correct horse battery staple\n');
    assert.equal(made.code, 0, made.stderr);
    const login = (email, password) => new Client(program.url).post('/v1/sessions', { email, password });
    const { account } = granted(await login('added@example.org', 'correct horse battery staple'), 201);
    assert.equal(account.time_zone, 'Asia/Tokyo');
    assert.ok(made.stdout.includes(account.id));
    assert.ok(!made.stdout.includes('staple') && !made.stderr.includes('staple'));
    for (const [args, input] of [[['added@example.org'], 'correct horse battery staple\n'], [['weak@example.org'], 'short\n'],
      [['nobody'], 'correct horse battery staple\n'], [['zone@example.org', '--time-zone', 'Mars'], 'correct horse battery staple\n']]) {
      const { code, stderr } = await add(args, input);
      assert.ok(code !== 0 && stderr.startsWith('taskwire: '), `${args}: ${code} ${stderr}`);
    }
    refused(await new Client(program.url).post('/v1/accounts', { email: 'x@example.org', password: 'correct horse battery staple' }), 403, 'forbidden');
  });

  // --- starting ---

  it('with LOG_FORMAT=json every line is JSON; with LOG_LEVEL=error a good start says nothing', async () => {
    const json = await bench.program({ LOG_FORMAT: 'json', LOG_LEVEL: 'debug' }).start();
    assert.equal((await json.stop()).code, 0);
    const lines = json.log.trim().split('\n').map((line) => JSON.parse(line));
    assert.ok(lines.length > 2);
    for (const line of lines) assert.ok(line.time && line.level && line.actor && line.message, JSON.stringify(line));
    assert.ok(lines.some((line) => line.message === 'started' && /^http:/.test(line.admin)));
    const quiet = await bench.program({ LOG_LEVEL: 'error' }).start();
    assert.equal((await quiet.stop()).code, 0);
    assert.equal(quiet.log, '');
  });

  it('a database that stays away ends the start with 69; one that comes in time does not', async () => {
    const away = `postgresql://taskwire@/taskwire?host=${bench.dir}/nowhere`;
    const started = performance.now();
    const ended = serve({ DATABASE_URL: away, START_TIMEOUT: '1' }).then((exit) => ({ ...exit, waited: performance.now() - started }));
    const late = bench.program({ START_TIMEOUT: 60 });
    await bench.cluster.stop();
    try {
      late.spawn();
      await waitFor(() => late.log.includes('waiting for the database'), 'it waits');
      assert.equal(late.stdout, '', 'it is not listening yet');
    } finally {
      await bench.cluster.start();
    }
    await waitFor(() => late.stdout.includes('listening on '), 'it starts', 30_000);
    assert.equal((await late.stop()).code, 0);
    const { code, stderr, waited } = await ended;
    assert.equal(code, UNAVAILABLE, stderr);
    assert.ok(waited >= 950 && waited < 15_000, `${waited} ms`);
    await waitFor(async () => (await fetch(`${program.url}/readyz`)).status === 200, 'the other program is ready again', 30_000);
  });

  it('a database that does not exist and a wrong password end the start with 78 at once; the password is not told', async () => {
    await bench.cluster.query('CREATE ROLE taskwire_password', 'postgres');
    await bench.cluster.query("CREATE ROLE guarded LOGIN PASSWORD 'right' IN ROLE taskwire_password", 'postgres');
    const by = (user) => bench.databaseUrl.replace('//taskwire@', `//${user}@`);
    for (const [url, words] of [
      [bench.databaseUrl.replace('/taskwire', '/nothing'), /nothing/], [by('nobody'), /nobody/], [by('guarded:hunter2'), /password/],
      [by('guarded'), /password/], ['postgresql://taskwire:hunter2@/taskwire?nonsense=1', /URL/],
    ]) {
      for (const name of ['serve', 'migrate', 'user', 'verify']) {
        const started = performance.now();
        const { code, stdout, stderr } = await command(name === 'user' ? ['user', 'add', 'x@example.org'] : [name],
          settings({ ...good(), DATABASE_URL: url, START_TIMEOUT: '60' }));
        assert.equal(code, CONFIG, `${name} ${url}: ${stderr}`);
        assert.ok(stderr.includes('TASKWIRE_DATABASE_URL') && words.test(stderr), stderr);
        assert.ok(!(stdout + stderr).includes('hunter2'), stderr);
        assert.ok(performance.now() - started < 20_000, 'at once');
      }
    }
  });

  it('waiting for a database that says nothing ends by START_TIMEOUT, and by a signal at once', async () => {
    const sockets = new Set();
    const silent = createServer((socket) => { sockets.add(socket.on('error', () => {})); });
    await new Promise((done) => { silent.listen(0, '127.0.0.1', done); });
    const values = { DATABASE_URL: `postgresql://taskwire@127.0.0.1:${silent.address().port}/taskwire` };
    try {
      const started = performance.now();
      const { code, stderr } = await serve({ ...values, START_TIMEOUT: '2' });
      const waited = performance.now() - started;
      assert.equal(code, UNAVAILABLE, stderr);
      assert.ok(waited >= 1_900 && waited < 4_500, `${waited} ms`);
      for (const url of [values.DATABASE_URL, `postgresql://taskwire@/taskwire?host=${bench.dir}/nowhere`]) {
        const n = sockets.size;
        const waiting = bench.program({ DATABASE_URL: url, START_TIMEOUT: 60 }).spawn();
        await waitFor(() => waiting.log.includes('cannot reach the database') || sockets.size > n, 'it waits');
        const asked = performance.now();
        waiting.signal('SIGTERM');
        assert.deepEqual(await waiting.ended, { code: 0, signal: null });
        assert.ok(performance.now() - asked < 1_000, `${performance.now() - asked} ms`);
      }
    } finally {
      for (const socket of sockets) socket.destroy();
      silent.close();
    }
  });

  it('a database of a newer program ends the start with 78', async () => {
    const url = await bench.database('newer');
    const values = settings({ ...good(), DATABASE_URL: url });
    assert.equal((await command(['migrate'], values)).code, 0);
    assert.equal((await command(['migrate'], values)).code, 0, 'twice is as good as once');
    await bench.cluster.query("INSERT INTO schema_version (version, name) VALUES (9999, 'from the future')", 'newer');
    for (const name of ['serve', 'migrate']) {
      const { code, stderr } = await command([name], values);
      assert.equal(code, CONFIG, stderr);
      assert.match(stderr, /9999/);
    }
  });

  // --- looking at it ---

  it('health answers at both addresses, everything else at one', async () => {
    for (const url of [program.url, program.adminUrl]) {
      assert.equal(granted(await new Client(url).get('/healthz')).status, 'ok');
      assert.deepEqual(granted(await new Client(url).get('/readyz')), { status: 'ready' });
    }
    for (const path of ['/metrics', '/actors']) {
      refused(await me.get(path), 404, 'not_found');
      granted(await new Client(program.adminUrl).get(path));
    }
    for (const path of ['/v1/lists', '/v1/ws', '/openapi.yaml', '/']) refused(await new Client(program.adminUrl, me.token).get(path), 404, 'not_found');
  });

  it('/actors shows the network as it runs: every actor, how full its inbox is and may be', async () => {
    const { actors } = granted(await new Client(program.adminUrl).get('/actors'));
    const names = actors.map((actor) => actor.name).sort();
    const ofKafka = bench.kafka ? ['consumer', 'tail', 'topics'] : [];
    if (bench.kafka) assert.ok(names.includes('topics'), 'in Kafka mode there are more');
    assert.deepEqual(names.filter((name) => !ofKafka.includes(name)), ['audit', 'eraser', 'gateway-0', 'gateway-1', 'peers', 'recurrence', 'relay', 'reminder', 'retime', 'sync', 'writer']);
    for (const { name, depth, limit, beats } of actors) {
      assert.ok(Number.isInteger(depth) && depth >= 0 && depth <= limit && limit > 0, `${name}: ${depth} of ${limit}`);
      assert.ok(beats > 0, `${name} runs`);
    }
    const before = Object.fromEntries(actors.map((actor) => [actor.name, actor.beats]));
    await waitFor(async () => {
      const now = granted(await new Client(program.adminUrl).get('/actors')).actors;
      return now.every((actor) => actor.beats > before[actor.name]);
    }, 'every actor goes on', 10_000);
  });

  // Metrics in Prometheus' text form, strictly: name → {type, samples: [{name, labels, value}]}.
  async function scrape() {
    const answer = await new Client(program.adminUrl).get('/metrics');
    granted(answer);
    assert.match(answer.headers.get('content-type'), /^text\/plain; version=0\.0\.4/);
    assert.ok(answer.text.endsWith('\n'));
    const families = new Map();
    let family;
    for (const line of answer.text.trimEnd().split('\n')) {
      const comment = /^# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.+)$/.exec(line);
      if (comment) {
        const [, word, name, text] = comment;
        if (family?.name !== name) {
          assert.ok(!families.has(name), `${name} stands in two places`);
          family = { name, samples: [] };
          families.set(name, family);
        }
        if (word === 'TYPE') family.type = text;
        continue;
      }
      const sample = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\.)*",?)*)\})? (NaN|[+-]?Inf|[-+\d.eE]+)$/.exec(line);
      assert.ok(sample, `no sample: ${line}`);
      const [, name, labels = '', value] = sample;
      assert.ok(name === family.name || (family.type === 'histogram' && /_(bucket|sum|count)$/.test(name) && name.startsWith(family.name)), line);
      family.samples.push({ name, labels, value: Number(value.replace('Inf', 'Infinity')) });
    }
    return families;
  }

  const sum = (families, name, labels = '') => families.get(name)?.samples
    .filter((sample) => sample.labels.includes(labels)).reduce((all, sample) => all + sample.value, 0) ?? 0;

  it('/metrics can be read by Prometheus and count what happens', async () => {
    const before = await scrape();
    const list = await me.list();
    const socket = await me.socket();
    await socket.subscribe(list.id);
    for (let i = 0; i < 5; i++) await me.task(list.id, { reminders: [{ at: new Date(Date.now() + 300).toISOString() }] });
    await me.get(`/v1/tasks/${uuid()}`);
    await waitFor(() => socket.events().filter((event) => event.type === 'reminder.due').length === 5, 'the reminders fire');
    const now = await waitFor(async () => {
      const families = await scrape();
      return sum(families, 'taskwire_subscribers') >= 1 && families;
    }, 'the subscriber is counted');
    const grew = (name, labels) => sum(now, name, labels) - sum(before, name, labels);
    assert.equal(grew('taskwire_http_requests_total', 'route="POST /v1/lists/{list}/tasks",status="2xx"'), 5);
    assert.equal(grew('taskwire_http_requests_total', 'route="GET /v1/tasks/{task}",status="4xx"'), 1);
    assert.equal(grew('taskwire_commands_total'), 11);
    assert.equal(grew('taskwire_reminders_fired_total'), 5);
    assert.ok(grew('taskwire_frames_sent_total') >= 10);
    for (const name of ['taskwire_http_request_seconds', 'taskwire_writer_commit_seconds', 'taskwire_relay_lag_seconds', 'taskwire_inbox_messages',
      'taskwire_websocket_connections', 'taskwire_resets_total', 'taskwire_reminder_lateness_seconds', 'taskwire_commit_to_frame_seconds',
      'taskwire_audit_events_total']) {
      assert.ok(now.has(name), name);
    }
    for (const [name, { type, samples }] of now) {
      assert.ok(['counter', 'gauge', 'histogram'].includes(type), `${name}: ${type}`);
      assert.equal(new Set(samples.map((sample) => `${sample.name}{${sample.labels}}`)).size, samples.length, `${name}: a series twice`);
      if (type === 'histogram') checkHistogram(name, samples);
    }
    await socket.close();
  });

  // Of each series: cumulative buckets, the last of which holds all.
  function checkHistogram(name, samples) {
    const series = new Map();
    for (const sample of samples) {
      const le = /,?le="([^"]*)"/.exec(sample.labels);
      const key = sample.labels.replace(le?.[0] ?? '', '');
      const one = series.get(key) ?? { buckets: [] };
      if (le) one.buckets.push([Number(le[1].replace('Inf', 'Infinity')), sample.value]);
      else one[sample.name.slice(name.length + 1)] = sample.value;
      series.set(key, one);
    }
    for (const { buckets, count, sum: total } of series.values()) {
      buckets.forEach(([bound, value], i) => {
        if (i > 0) assert.ok(bound > buckets[i - 1][0] && value >= buckets[i - 1][1], `${name}: ${buckets}`);
      });
      assert.deepEqual(buckets.at(-1), [Infinity, count], name);
      assert.ok(total >= 0, name);
    }
  }

  // --- the database goes away ---

  it('while the database is away it says so, refuses, and goes on by itself afterwards', async () => {
    const list = await me.list();
    const task = await me.task(list.id);
    const socket = await me.socket();
    await socket.subscribe(list.id);
    const key = { 'Idempotency-Key': uuid() };
    const write = () => me.post(`/v1/lists/${list.id}/tasks`, { title: 'in between' }, key);
    await bench.cluster.stop('immediate');
    try {
      for (const url of [program.url, program.adminUrl]) {
        const away = await waitFor(async () => {
          const answer = await new Client(url).get('/readyz');
          return answer.status === 503 && answer;
        }, 'it notices');
        assert.ok(Number(away.headers.get('retry-after')) >= 1);
        assert.equal(away.body.status, 'unavailable');
        assert.ok(away.body.reason.length > 0);
        granted(await new Client(url).get('/healthz'));
      }
      refused(await me.get(`/v1/tasks/${task.id}`), 503, 'unavailable');
      const unwritten = await write();
      refused(unwritten, 503, unwritten.body.code);
      assert.ok(['unavailable', 'outcome_unknown'].includes(unwritten.body.code), unwritten.text);
      const id = uuid();
      socket.send({ op: 'command', command: { id, op: 'task.create', list: list.id, data: { title: 'in between' } } });
      const result = await socket.find((message) => message.op === 'result', 'a result');
      assert.deepEqual([result.ok, result.problem.status], [false, 503]);
    } finally {
      await bench.cluster.start();
    }
    await waitFor(async () => (await me.get('/readyz')).status === 200, 'it is ready again', 30_000);
    const made = granted(await waitFor(async () => {
      const answer = await write();
      return answer.status !== 503 && answer;
    }, 'it writes again'), 201);
    assert.equal((await write()).headers.get('idempotent-replay'), 'true');
    await socket.find((message) => message.op === 'event' && message.task === made.id, 'the event, on the same socket');
    const revs = socket.events(list.id).map((event) => event.rev);
    assert.deepEqual(revs, revs.map((_, i) => 3 + i), 'none lost, none twice');
    const titles = granted(await me.get(`/v1/lists/${list.id}/tasks`)).items.filter((one) => one.title === 'in between');
    assert.equal(titles.length, 1, 'applied once');
    assert.equal(program.exit, null, 'without a restart');
  });

  it('garbage in the file of anchors is kept, told, and does not stop anchoring', async () => {
    const other = await bench.program({ ANCHOR_INTERVAL: 1 }, await bench.database('anchored')).start();
    const data = join(other.dir, 'data');
    const path = join(data, 'anchors');
    const somebody = await Client.register(other.url);
    const list = await somebody.list();
    const anchors = () => (existsSync(path) ? readFileSync(path, 'utf8') : '');
    await waitFor(() => anchors().includes(list.id), 'the list is anchored');
    const quiet = list.id;
    const damaged = anchors().replace(/\nblock /, '\ngarbage\nblock ');
    writeFileSync(path, damaged);
    const busy = await somebody.list();
    await waitFor(() => anchors().includes(busy.id) && anchors().includes(quiet), 'all is anchored in a new file');
    const [kept, ...more] = readdirSync(data).filter((name) => name.endsWith('-damaged'));
    assert.deepEqual([more, readFileSync(join(data, kept), 'utf8')], [[], damaged]);
    assert.match(other.log, /error audit: the file of anchors was damaged/);
    assert.equal(await other.metric('taskwire_audit_anchor_damages_total'), 1);
    const verify = () => command(['verify'], settings({ DATABASE_URL: other.settings.DATABASE_URL, DATA_DIR: data }));
    const bad = await verify();
    assert.deepEqual([bad.code, bad.stdout.includes(`${kept}: line 2: block 1`)], [1, true], bad.stdout);
    renameSync(join(data, kept), join(bench.dir, kept));
    const fine = await verify();
    assert.equal(fine.code, 0, fine.stdout);
    await other.stop();
  });

  // --- the end ---

  it('asked to end it answers what is under way, says goodbye to sockets, and ends with 0', async () => {
    for (const signal of ['SIGTERM', 'SIGINT']) {
      const other = await bench.program({ GATEWAYS: 2 }).start();
      const client = new Client(other.url, me.token);
      const list = await client.list();
      const sockets = await Promise.all(Array.from({ length: 4 }, () => client.socket()));
      const anonymous = connect(new URL(other.url).port, '127.0.0.1');
      await new Promise((done) => { anonymous.on('connect', done); });
      anonymous.write('GET /healthz HTTP/1.1\r\n');
      for (const socket of sockets) await socket.subscribe(list.id);
      const ids = Array.from({ length: 20 }, uuid);
      for (const id of ids) sockets[0].send({ op: 'command', command: { id, op: 'task.create', list: list.id, data: { title: 'x' } } });
      const started = performance.now();
      other.signal(signal);
      assert.deepEqual(await other.ended, { code: 0, signal: null });
      assert.ok(performance.now() - started < 10_500, 'it took no longer than ten seconds');
      for (const socket of sockets) {
        await waitFor(() => socket.closed, 'the socket is closed');
        assert.ok([1001, 1012].includes(socket.closed.code), `closed with ${socket.closed.code}`);
      }
      const acknowledged = sockets[0].messages.filter((message) => message.ok).map((message) => message.id);
      const stored = new Set(granted(await me.get(`/v1/lists/${list.id}/events?limit=500`)).items.map((event) => event.command));
      for (const id of acknowledged) assert.ok(stored.has(id), 'what was acknowledged is stored');
      anonymous.destroy();
      await assert.rejects(fetch(`${other.url}/healthz`), 'nobody listens any more');
    }
  });

  it('a client that reads nothing and one that says nothing do not keep it from ending', async () => {
    const other = await bench.program().start();
    const client = new Client(other.url, me.token);
    const list = await client.list();
    const task = await client.task(list.id);
    const stuck = await client.socket();
    await stuck.subscribe(list.id);
    stuck.ws.pause();
    for (let i = 0; i < 40; i++) granted(await client.patch(`/v1/tasks/${task.id}`, { notes: `${i}`.padEnd(60_000, 'x') }));
    const silent = await Promise.all(Array.from({ length: 5 }, () => new Promise((done) => {
      const socket = connect(new URL(other.url).port, '127.0.0.1', () => done(socket));
      socket.on('error', () => {});
    })));
    const started = performance.now();
    other.signal('SIGTERM');
    assert.equal((await other.ended).code, 0);
    assert.ok(performance.now() - started < 10_500);
    stuck.ws.terminate();
    for (const socket of silent) socket.destroy();
  });

  it('the audit chain of everything that happened here is whole', async () => {
    await waitFor(async () => {
      const { code, stdout, stderr } = await command(['verify'], settings({ ...good(), DATA_DIR: program.settings.DATA_DIR ?? join(program.dir, 'data') }));
      assert.ok([0, 1].includes(code), `${code}: ${stdout}${stderr}`);
      return code === 0;
    }, 'verify finds nothing wrong', 10_000);
    assert.ok(readFileSync(join(program.dir, 'log'), 'utf8').includes('started'));
  });
});
