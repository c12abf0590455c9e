import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';

import type { Job } from '../api/contract';
import { IJobFrame, JobStream } from '../api/stream';
import { makeJob } from './support/jobs';
import { ScriptedServer } from './support/server';
import { pause, TIMERS_ONLY, until } from './support/wait';

const LAST_EVENT = Number.MAX_SAFE_INTEGER;
let server: ScriptedServer;
let stream: JobStream;

beforeEach(async () => {
  server = await ScriptedServer.start();
  stream = new JobStream(server.settings);
});

afterEach(async () => {
  stream.dispose();
  jest.useRealTimers();
  await server.stop();
});

function watchRequest(id: string, attempt: number, offset: number): object {
  return { watch: id, after: LAST_EVENT, log_attempt: attempt, log_offset: offset };
}

function logFrame(text: string, offset: number, attempt = 1): object {
  return { job: 'a', type: 'log', attempt, offset, next_offset: offset + text.length, text };
}

/** Watch job `a` from its beginning; the frames that arrive are added to the returned list. */
function watch(): IJobFrame[] {
  const frames: IJobFrame[] = [];
  stream.watch('a', { attempt: 1, offset: 0 }, frame => frames.push(frame));
  return frames;
}

async function connected(): Promise<void> {
  stream.open();
  await until(() => server.messages.some(message => message.list === true));
}

describe('a connection', () => {
  test('asks for the job list and reports its changes', async () => {
    const seen: Job[] = [];
    stream.jobsChanged.connect((_, jobs) => seen.push(...jobs));
    await connected();
    expect(server.messages).toEqual([{ list: true }]);
    server.send({ type: 'jobs', jobs: [makeJob('a', 'RUNNING'), makeJob('b', 'FAILED')] });
    await until(() => seen.length === 2);
    expect(seen.map(job => job.id)).toEqual(['a', 'b']);
  });

  test('is made once, however often it is opened', async () => {
    await connected();
    stream.open();
    watch();
    await until(() => server.messages.length === 2);
    expect(server.connections).toBe(1);
  });

  test('ignores frames that it cannot read', async () => {
    const frames = watch();
    await connected();
    for (const frame of ['{', '3', 'null', '[]', '{"job": 1}', '{"type": "jobs", "jobs": 4}']) {
      server.send(frame);
    }
    server.send({ job: 'unknown', type: 'end' });
    server.send({ job: 'a', type: 'end' });
    await until(() => frames.length > 0);
    expect(frames).toEqual([{ job: 'a', type: 'end' }]);
  });

  test('reports each change between connected and disconnected', async () => {
    const changes: boolean[] = [];
    stream.connectionChanged.connect((_, value) => changes.push(value));
    await connected();
    expect(stream.connected).toBe(true);
    server.dropConnections();
    await until(() => changes.length === 3);
    expect(changes).toEqual([true, false, true]);
  });

  test('is not made again after dispose', async () => {
    await connected();
    stream.dispose();
    server.dropConnections();
    stream.open();
    await pause(1000);
    expect(server.connections).toBe(1);
  });

  test('doubles its pauses up to 30 s and starts small again once connected', async () => {
    const pauses: number[] = [];
    const random = jest.spyOn(Math, 'random').mockReturnValue(0.5);
    // Each pause is noted and cut short.
    const later = window.setTimeout.bind(window);
    const timer = jest.spyOn(window, 'setTimeout').mockImplementation(((
      handler: () => void,
      milliseconds = 0
    ) => {
      pauses.push(milliseconds);
      return later(handler, 0);
    }) as typeof window.setTimeout);
    try {
      await connected();
      await server.stop();
      await until(() => pauses.length >= 9);
      expect(pauses.slice(0, 9)).toEqual([
        500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000
      ]);
      await server.restart();
      await until(() => stream.connected);
      const before = pauses.length;
      server.dropConnections();
      await until(() => pauses.length > before);
      expect(pauses[before]).toBe(500);
    } finally {
      random.mockRestore();
      timer.mockRestore();
    }
  });
});

describe('a watch', () => {
  test('receives the log from its cursor and the end', async () => {
    const frames = watch();
    await connected();
    await until(() => server.messages.length === 2);
    expect(server.messages[1]).toEqual(watchRequest('a', 1, 0));
    server.send(logFrame('one\n', 0));
    server.send({ job: 'a', type: 'end' });
    await until(() => frames.length === 2);
    expect(frames).toEqual([logFrame('one\n', 0), { job: 'a', type: 'end' }]);
  });

  test('continues from the last received byte after the connection broke', async () => {
    const frames = watch();
    await connected();
    server.send(logFrame('one\n', 0));
    server.send(logFrame('two\n', 0, 2));
    await until(() => frames.length === 2);
    server.dropConnections();
    await until(() => server.messages.length === 4);
    expect(server.messages.slice(2)).toEqual([{ list: true }, watchRequest('a', 2, 4)]);
    expect(server.connections).toBe(2);
  });

  test('continues from the last received byte after a restart of the server', async () => {
    const frames = watch();
    await connected();
    server.send(logFrame('one\n', 0));
    await until(() => frames.length === 1);
    await server.stop();
    await until(() => !stream.connected);
    await server.restart();
    await until(() => server.messages.length === 4);
    expect(server.messages[3]).toEqual(watchRequest('a', 1, 4));
  });

  test('is requested again from its cursor 3 s after the server gave it up', async () => {
    const frames = watch();
    await connected();
    server.send(logFrame('one\n', 0));
    await until(() => frames.length === 1);
    jest.useFakeTimers(TIMERS_ONLY);
    const error = { job: 'a', type: 'error', code: 'unavailable', message: 'The disk is slow.' };
    server.send(error);
    await until(() => frames.length === 2);
    expect(frames[1]).toEqual(error);
    jest.advanceTimersByTime(2999);
    await pause(50);
    expect(server.messages).toHaveLength(2);
    jest.advanceTimersByTime(1);
    await until(() => server.messages.length === 3);
    expect(server.messages[2]).toEqual(watchRequest('a', 1, 4));
  });

  test.each([
    ['the job does not exist', { code: 'not_found' }],
    ['the error is an event of the worker', { cause: 'bad_data', seq: 7 }]
  ])('is not requested again where %s', async (_, fields) => {
    const frames = watch();
    await connected();
    await until(() => server.messages.length === 2);
    jest.useFakeTimers(TIMERS_ONLY);
    server.send({ job: 'a', type: 'error', message: '', ...fields });
    await until(() => frames.length === 1);
    jest.advanceTimersByTime(60_000);
    await pause(50);
    expect(server.messages).toHaveLength(2);
  });

  test('ends on the server when it is disposed of', async () => {
    const frames: IJobFrame[] = [];
    const first = stream.watch('a', { attempt: 1, offset: 0 }, frame => frames.push(frame));
    await connected();
    first.dispose();
    await until(() => server.messages.length === 3);
    expect(server.messages[2]).toEqual({ unwatch: 'a' });
    server.send(logFrame('late\n', 0));
    server.send({ type: 'jobs', jobs: [] });
    await new Promise<void>(resolve => stream.jobsChanged.connect(() => resolve()));
    expect(frames).toEqual([]);
  });

  test('replaces an earlier one of the same job, which no longer ends it', async () => {
    const first = stream.watch('a', { attempt: 1, offset: 0 }, () => undefined);
    await connected();
    const frames: IJobFrame[] = [];
    stream.watch('a', { attempt: 1, offset: 9 }, frame => frames.push(frame));
    first.dispose();
    await until(() => server.messages.length === 3);
    expect(server.messages[2]).toEqual(watchRequest('a', 1, 9));
    server.send(logFrame('ten\n', 9));
    await until(() => frames.length === 1);
    expect(server.messages).toHaveLength(3);
  });
});
