import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';

import type { Job } from '../api/contract';
import { JobsModel } from '../models/jobs';
import { JobStream } from '../api/stream';
import { makeJob, makePage, OPEN_QUEUE } from './support/jobs';
import { Reply, ScriptedServer } from './support/server';
import { pause, TIMERS_ONLY, until } from './support/wait';

let server: ScriptedServer;
let model: JobsModel;
let ended: string[];

beforeEach(async () => {
  server = await ScriptedServer.start();
  server.on('queue', () => OPEN_QUEUE);
  model = new JobsModel(server.settings, new JobStream(server.settings));
  ended = [];
  model.ended.connect((_, job) => ended.push(job.id));
});

afterEach(async () => {
  model.dispose();
  await server.stop();
});

function created(minute: number): { created_at: string } {
  return { created_at: `2026-01-02T03:${String(minute).padStart(2, '0')}:00Z` };
}

function ids(): string[] {
  return model.jobs.map(job => job.id);
}

/** Make the server answer requests for the list with these jobs, and load them. */
async function load(...jobs: Job[]): Promise<void> {
  server.on('jobs', () => makePage(jobs));
  await model.refresh();
}

/** Connect the stream; the poll and the first refresh run too. */
async function start(): Promise<void> {
  model.start();
  await until(() => model.loaded && server.messages.length > 0);
}

/** Send jobs over the stream and wait until the model has handled them. */
async function stream(...jobs: Job[]): Promise<void> {
  const handled = new Promise<void>(resolve => model.stream.jobsChanged.connect(() => resolve()));
  server.send({ type: 'jobs', jobs });
  await handled;
}

describe('the list', () => {
  test('has the first page, newest first, and the state of the queue', async () => {
    expect(model.loaded).toBe(false);
    expect(model.queue).toBeNull();
    await load(makeJob('old', 'FAILED', created(1)), makeJob('new', 'RUNNING', created(2)));
    expect(ids()).toEqual(['new', 'old']);
    expect(model.loaded).toBe(true);
    expect(model.queue).toEqual(OPEN_QUEUE);
    expect(model.hasMore).toBe(false);
    expect(server.requestsFor('jobs')[0].query.get('limit')).toBe('50');
  });

  test('continues with older pages until there are none', async () => {
    const jobs = Array.from({ length: 53 }, (_, n) => makeJob(`run-${n}`, 'FAILED', created(n)));
    jobs.reverse();
    server.on('jobs', ({ query }) =>
      query.get('cursor') === 'older'
        ? makePage(jobs.slice(50))
        : makePage(jobs.slice(0, 50), 'older')
    );
    await model.refresh();
    expect(ids()).toHaveLength(50);
    expect(model.hasMore).toBe(true);
    await model.loadMore();
    expect(ids()).toEqual(jobs.map(job => job.id));
    expect(model.hasMore).toBe(false);
    await model.refresh();
    expect(model.hasMore).toBe(false);
    await model.loadMore();
    expect(server.requestsFor('jobs').map(({ query }) => query.get('cursor'))).toEqual([
      null,
      'older',
      null
    ]);
  });

  test('keeps the error of a failed refresh until one succeeds', async () => {
    const body = { message: 'The disk is full.', hint: 'Delete something.' };
    server.on('jobs', () => new Reply(503, body));
    let changes = 0;
    model.changed.connect(() => (changes += 1));
    await expect(model.refresh()).rejects.toThrow('The disk is full.');
    expect(model.error).toBe('The disk is full. Delete something.');
    expect(model.loaded).toBe(false);
    expect(changes).toBe(1);
    await load();
    expect(model.error).toBe('');
  });

  test('keeps the error of an older page that cannot be loaded', async () => {
    server.on('jobs', ({ query }) =>
      query.has('cursor') ? new Reply(500, '<html>') : makePage([makeJob('a', 'FAILED')], 'older')
    );
    await model.refresh();
    await model.loadMore();
    expect(model.error).toContain('500');
    expect(model.hasMore).toBe(true);
    expect(ids()).toEqual(['a']);
  });
});

describe('the filter', () => {
  test('asks the server and hides loaded jobs that do not match', async () => {
    await load(
      makeJob('a', 'FAILED', { name: 'Orchard' }),
      makeJob('b', 'RUNNING', { name: 'orchard' }),
      makeJob('c', 'FAILED', { name: 'meadow' })
    );
    model.setFilter({ text: 'orCH', states: ['FAILED', 'CANCELLED'] });
    expect(ids()).toEqual(['a']);
    await until(() => server.requestsFor('jobs').length === 2);
    const { query } = server.requestsFor('jobs')[1];
    expect(query.get('text')).toBe('orCH');
    expect(query.getAll('state')).toEqual(['FAILED', 'CANCELLED']);
    expect(model.get('c')?.name).toBe('meadow');
  });

  test.each([
    ['the id', 'train-7'],
    ['the name', 'ORCH'],
    ['the kind', 'serve']
  ])('matches %s', async (_, text) => {
    await load(makeJob('TRAIN-7', 'RUNNING', { name: 'Orchard', kind: 'serve' }));
    model.setFilter({ text, states: [] });
    expect(ids()).toEqual(['TRAIN-7']);
  });

  test('drops a late answer to an earlier one', async () => {
    let release: () => void = () => undefined;
    const gate = new Promise<void>(resolve => (release = resolve));
    server.on('jobs', async ({ query }) => {
      if (query.has('text')) {
        return makePage([makeJob('match', 'FAILED')]);
      }
      await gate;
      return makePage([makeJob('late', 'FAILED')], 'cursor of no filter');
    });
    const first = model.refresh();
    await until(() => server.requestsFor('jobs').length === 1);
    model.setFilter({ text: 'match', states: [] });
    await until(() => model.loaded);
    release();
    await first;
    expect(model.get('late')).toBeUndefined();
    expect(model.hasMore).toBe(false);
    expect(ids()).toEqual(['match']);
  });
});

describe('a change', () => {
  test('from the stream replaces the job, an older version does not', async () => {
    await load(makeJob('a', 'QUEUED', { version: 4 }));
    await start();
    await stream(makeJob('a', 'RUNNING', { version: 6 }));
    expect(model.get('a')?.state).toBe('RUNNING');
    await stream(makeJob('a', 'STARTING', { version: 5 }));
    expect(model.get('a')?.state).toBe('RUNNING');
    await model.refresh();
    expect(model.get('a')?.state).toBe('RUNNING');
  });

  test('to an end is reported once, for jobs that were seen live', async () => {
    await load(makeJob('a', 'RUNNING', { version: 1 }), makeJob('b', 'SUCCEEDED'));
    await start();
    await stream(makeJob('a', 'SUCCEEDED', { version: 2 }));
    await stream(makeJob('a', 'SUCCEEDED', { version: 3 }));
    await stream(makeJob('new', 'FAILED', created(30)));
    await load(makeJob('a', 'SUCCEEDED', { version: 3 }));
    expect(ended).toEqual(['a']);
  });

  test('adds live jobs, and ended ones only where their page is loaded', async () => {
    server.on('jobs', () => makePage([makeJob('first', 'FAILED', created(10))], 'older'));
    await start();
    await stream(
      makeJob('live', 'RUNNING', created(2)),
      makeJob('ended-new', 'FAILED', created(11)),
      makeJob('ended-old', 'FAILED', created(9))
    );
    expect(ids()).toEqual(['ended-new', 'first', 'live']);
  });

  test('is there when the signal that views render from is emitted', async () => {
    await load();
    await start();
    const states: (string | undefined)[] = [];
    model.changed.connect(() => states.push(model.get('a')?.state));
    await stream(makeJob('a', 'RUNNING'));
    expect(states).toContain('RUNNING');
  });
});

describe('the connection', () => {
  test('is followed by a refresh when it breaks', async () => {
    await load();
    await start();
    await until(() => server.requestsFor('jobs').length >= 3);
    jest.useFakeTimers(TIMERS_ONLY);
    try {
      server.on('jobs', () => makePage([makeJob('missed', 'RUNNING')]));
      server.dropConnections();
      // Neither the poll nor the reconnection happens: no time passes for them.
      await until(() => ids().includes('missed'));
      expect(server.connections).toBe(1);
    } finally {
      jest.useRealTimers();
    }
  });

  test('is replaced by a request every 3 s where there is none', async () => {
    await load();
    model.stream.dispose();
    jest.useFakeTimers(TIMERS_ONLY);
    try {
      model.start();
      await pause(50);
      jest.advanceTimersByTime(100);
      await until(() => server.requestsFor('jobs').length === 2);
      for (const expected of [3, 4]) {
        await pause(50);
        jest.advanceTimersByTime(2000);
        await pause(50);
        expect(server.requestsFor('jobs')).toHaveLength(expected - 1);
        jest.advanceTimersByTime(1100);
        await until(() => server.requestsFor('jobs').length === expected);
      }
    } finally {
      jest.useRealTimers();
    }
  });
});

describe('an action', () => {
  test.each(['cancel', 'resume'] as const)(
    '%s marks the job busy and takes the answer',
    async verb => {
      await load(makeJob('a/b', 'RUNNING', { version: 1 }));
      const busy: boolean[] = [];
      model.changed.connect(() => busy.push(model.busy.has('a/b')));
      server.on(`jobs/a%2Fb/${verb}`, ({ method }) =>
        makeJob('a/b', method === 'POST' ? 'STOPPING' : 'RUNNING', { version: 2 })
      );
      await model[verb]('a/b');
      expect(model.get('a/b')?.state).toBe('STOPPING');
      expect(busy[0]).toBe(true);
      expect(busy[busy.length - 1]).toBe(false);
    }
  );

  test('that the server refuses is no longer busy, and throws', async () => {
    const body = {
      status: 409,
      message: 'The job has ended.',
      hint: '',
      code: 'conflict',
      request_id: 'r1'
    };
    server.on('jobs/a/cancel', () => new Reply(409, body));
    await expect(model.cancel('a')).rejects.toMatchObject({ status: 409, code: 'conflict' });
    expect(model.busy.size).toBe(0);
  });

  test('fetch adds one job to the list', async () => {
    server.on('jobs/a', () => makeJob('a', 'FAILED'));
    expect((await model.fetch('a')).state).toBe('FAILED');
    expect(ids()).toEqual(['a']);
  });

  test('pause sends the reason, and unpause opens the queue', async () => {
    server.on('queue/pause', ({ body }) => ({
      ...OPEN_QUEUE,
      paused: true,
      paused_by: 'ada',
      paused_reason: (body as { reason: string }).reason
    }));
    server.on('queue/unpause', () => OPEN_QUEUE);
    await model.pause('the disk is replaced');
    expect(model.queue?.paused_reason).toBe('the disk is replaced');
    await model.unpause();
    expect(model.queue?.paused).toBe(false);
  });
});
