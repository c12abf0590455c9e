import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { nullTranslator } from '@jupyterlab/translation';
import { Widget } from '@lumino/widgets';

import type { JobState } from '../api/contract';
import { LogView } from '../views/log';
import { JobsModel } from '../models/jobs';
import { JobStream } from '../api/stream';
import { makeJob, makePage, OPEN_QUEUE } from './support/jobs';
import { IRequest, Reply, ScriptedServer } from './support/server';
import { until } from './support/wait';

const LINES = 50;
const trans = nullTranslator.load('ilab_jupyter');
let server: ScriptedServer;
let model: JobsModel;
let view: LogView;
/** The log of each attempt, as the server has it. */
let logs: string[];

beforeEach(async () => {
  server = await ScriptedServer.start();
  logs = [''];
  server.on('jobs', () => makePage([]));
  server.on('queue', () => OPEN_QUEUE);
  server.on('jobs/a/log', readLog);
  setJob('RUNNING');
  model = new JobsModel(server.settings, new JobStream(server.settings));
  view = new LogView(model, 'a', LINES, trans);
});

afterEach(async () => {
  view.dispose();
  model.dispose();
  await server.stop();
});

/** The answer of `jobs/{id}/log`: a negative offset counts from the end. */
function readLog({ query }: IRequest): unknown {
  const attempt = Number(query.get('attempt') ?? logs.length);
  const log = logs[attempt - 1];
  const wanted = Number(query.get('offset'));
  const offset = wanted < 0 ? Math.max(0, log.length + wanted) : wanted;
  const text = log.slice(offset, offset + Number(query.get('limit')));
  const end = offset + text.length;
  return { attempt, offset, next_offset: end, size: log.length, text, ended: false };
}

function setJob(state: JobState, fields: object = {}): void {
  server.on('jobs/a', () => makeJob('a', state, fields));
}

/** Append to the log of the newest attempt and send it as a frame. */
function write(text: string): void {
  const attempt = logs.length;
  const offset = logs[attempt - 1].length;
  logs[attempt - 1] += text;
  const next = offset + text.length;
  server.send({ job: 'a', type: 'log', attempt, offset, next_offset: next, text });
}

function shown(): string[] {
  return [...view.node.querySelectorAll('.jp-IlabLog-line')].map(node => node.textContent ?? '');
}

function status(): string {
  return view.node.querySelector('[role="status"]')?.textContent ?? '';
}

function earlier(): HTMLButtonElement {
  return view.node.querySelector('button') as HTMLButtonElement;
}

function numbered(first: number, end: number): string[] {
  return Array.from({ length: end - first }, (_, n) => `line ${first + n}`.padEnd(800, '.'));
}

function text(lines: string[]): string {
  return lines.map(line => `${line}\n`).join('');
}

/** Attach the view and wait until it watches the log. */
async function open(): Promise<void> {
  model.start();
  Widget.attach(view, document.body);
  await until(() => server.messages.some(message => 'watch' in message));
}

describe('a running job', () => {
  test('shows the end of its log and what is added to it', async () => {
    logs[0] = 'one\ntw';
    await open();
    expect(shown()).toEqual(['one', 'tw']);
    write('o\n\rloading\rthree <b>&amp;</b>\n');
    await until(() => shown().length === 3);
    expect(shown()).toEqual(['one', 'two', 'three <b>&amp;</b>'.padEnd(7)]);
    expect(view.node.querySelector('b')).toBeNull();
    expect(status()).toBe('Running …');
  });

  test('ignores a frame that it has already shown', async () => {
    await open();
    write('one\n');
    await until(() => shown().length === 1);
    server.send({ job: 'a', type: 'log', attempt: 1, offset: 0, next_offset: 4, text: 'one\n' });
    write('two\n');
    await until(() => shown().length > 1);
    expect(shown()).toEqual(['one', 'two']);
  });

  test('reads the log again where a frame is missing', async () => {
    await open();
    write('one\n');
    await until(() => shown().length === 1);
    logs[0] += 'two\n';
    write('three\n');
    await until(() => shown().length === 3);
    expect(shown()).toEqual(['one', 'two', 'three']);
  });

  test('starts an empty log with its next attempt', async () => {
    logs[0] = 'one\n';
    await open();
    logs.push('');
    write('two\n');
    await until(() => shown().includes('two'));
    expect(shown()).toEqual(['two']);
  });

  test('shows its outcome at the end', async () => {
    await open();
    setJob('SUCCEEDED', {
      version: 2,
      started_at: '2026-01-02T03:04:05Z',
      ended_at: '2026-01-02T03:04:12Z'
    });
    server.send({ job: 'a', type: 'end' });
    await until(() => status().startsWith('Succeeded'));
    expect(status()).toBe('Succeeded after 7 s.');
  });

  test('says that it is not connected while the server is gone, and recovers', async () => {
    await open();
    await server.stop();
    await until(() => status() === 'Not connected; trying again.');
    logs[0] += 'missed\n';
    await server.restart();
    await until(() => server.messages.filter(message => 'watch' in message).length === 2);
    expect(server.messages[server.messages.length - 1]).toMatchObject({ log_offset: 0 });
    server.send({ job: 'a', type: 'log', attempt: 1, offset: 0, next_offset: 7, text: 'missed\n' });
    await until(() => shown().includes('missed'));
    await until(() => status() === 'Running …');
  });

  test('shows the error of a watch that the server gave up', async () => {
    await open();
    const error = { message: 'The disk is slow.', hint: 'Wait.' };
    server.send({ job: 'a', type: 'error', code: 'unavailable', ...error });
    await until(() => status() === 'The disk is slow. Wait.');
  });
});

test('a queued job shows why it waits, and is not announced', async () => {
  setJob('QUEUED', { pending_reason: '2 jobs are ahead.', position: 3 });
  await open();
  await until(() => status() === '2 jobs are ahead. Number 3 in its queue.');
  expect(view.node.querySelector('[role="status"]')?.getAttribute('aria-live')).toBe('off');
});

test('a job that does not exist shows the error of the server', async () => {
  server.on('jobs/a', () => new Reply(404, { message: 'There is no job a.', hint: '' }));
  Widget.attach(view, document.body);
  await until(() => status() === 'There is no job a.');
});

describe('a long log', () => {
  test('is shown from its end, and earlier lines come on request', async () => {
    const lines = numbered(0, 400);
    logs[0] = text(lines);
    setJob('SUCCEEDED');
    view.dispose();
    view = new LogView(model, 'a', 10_000, trans);
    Widget.attach(view, document.body);
    await until(() => shown().length > 0);
    const first = shown().length;
    expect(first).toBeLessThan(400);
    expect(shown()).toEqual(lines.slice(400 - first));
    while (!earlier().hidden) {
      const before = shown().length;
      earlier().click();
      await until(() => shown().length > before && !earlier().disabled);
      expect(shown()).toEqual(lines.slice(400 - shown().length));
    }
    expect(shown()).toEqual(lines);
  });

  test('keeps a bounded number of lines, and following brings back its end', async () => {
    const lines = numbered(0, 400);
    logs[0] = text(lines);
    await open();
    expect(shown()).toEqual(lines.slice(-LINES));
    earlier().click();
    await until(() => shown()[0] !== lines[400 - LINES] && !earlier().disabled);
    const [first] = shown();
    const start = lines.indexOf(first);
    expect(shown()).toEqual(lines.slice(start, start + LINES));
    expect(view.follow).toBe(false);
    write('newest\n');
    view.follow = true;
    await until(() => shown().includes('newest'));
    expect(shown()).toEqual([...lines.slice(401 - LINES), 'newest']);
    expect(view.follow).toBe(true);
  });
});
