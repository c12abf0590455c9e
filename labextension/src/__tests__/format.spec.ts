import { describe, expect, test } from '@jest/globals';
import { nullTranslator } from '@jupyterlab/translation';

import type { JobState } from '../api/contract';
import {
  age,
  canCancel,
  count,
  duration,
  elapsed,
  hasEnded,
  lastPart,
  modelOf,
  size,
  stateLabel,
  title,
  waitingFor
} from '../models/format';
import { makeJob, makeSpec } from './support/jobs';

const trans = nullTranslator.load('ilab_jupyter');
const LIVE: JobState[] = ['QUEUED', 'STARTING', 'RUNNING', 'STOPPING'];
const ENDED: JobState[] = ['SUCCEEDED', 'FAILED', 'CANCELLED', 'INTERRUPTED'];

test.each([
  [0, '0 B'],
  [999, '999 B'],
  [1536, '1.5 kB'],
  [123_456, '123 kB'],
  [2_000_000, '2 MB'],
  [7_240_000_000, '7.2 GB'],
  [3_000_000_000_000, '3 TB']
])('size of %d bytes is %s', (bytes, text) => {
  expect(size(bytes)).toBe(text);
});

test.each([
  [690_176, '0.69M'],
  [7_240_000_000, '7.2B'],
  [45, '45']
])('count of %d is %s', (number, text) => {
  expect(count(number)).toBe(text);
});

test.each([
  [-3, '0 s'],
  [59.4, '59 s'],
  [83, '1 min 23 s'],
  [3600, '1 h 0 min'],
  [7384, '2 h 3 min']
])('duration of %d seconds is %s', (seconds, text) => {
  expect(duration(seconds, trans)).toBe(text);
});

test.each([
  [5, 'just now'],
  [130, '2 min ago'],
  [7300, '2 h ago'],
  [86_400, '1 day ago'],
  [200_000, '2 days ago']
])('age of %d seconds is "%s"', (seconds, text) => {
  const created = '2026-01-02T03:04:05Z';
  expect(age(created, trans, Date.parse(created) + seconds * 1000)).toBe(text);
});

describe('a state', () => {
  test.each(LIVE)('%s has not ended', state => {
    expect(hasEnded(makeJob('a', state))).toBe(false);
  });

  test.each(ENDED)('%s has ended and cannot be cancelled', state => {
    expect(hasEnded(makeJob('a', state))).toBe(true);
    expect(canCancel(makeJob('a', state))).toBe(false);
  });

  test('STOPPING cannot be cancelled a second time', () => {
    expect(canCancel(makeJob('a', 'RUNNING'))).toBe(true);
    expect(canCancel(makeJob('a', 'STOPPING'))).toBe(false);
  });

  test('has a label that differs from all others', () => {
    const labels = [...LIVE, ...ENDED].map(state => stateLabel(state, trans));
    expect(new Set(labels).size).toBe(8);
    expect(labels).toContain('Interrupted');
  });
});

test('the title is the name, or the kind of an unnamed job', () => {
  expect(title(makeJob('a', 'RUNNING', { name: 'orchard' }))).toBe('orchard');
  expect(title(makeJob('a', 'RUNNING'))).toBe('train');
});

test('the model is the last part of its path', () => {
  expect(lastPart('/models/granite/')).toBe('granite');
  expect(lastPart('starter')).toBe('starter');
  const job = makeJob('a', 'RUNNING', { spec: makeSpec({ model: '/models/granite' }) });
  expect(modelOf(job)).toBe('granite');
  expect(modelOf(makeJob('a', 'RUNNING'))).toBe('');
});

test('a queued job shows reason, position and expected wait', () => {
  const job = makeJob('a', 'QUEUED', {
    pending_reason: '2 jobs are ahead.',
    position: 3,
    wait_seconds: 90
  });
  expect(waitingFor(job, trans)).toBe(
    '2 jobs are ahead. Number 3 in its queue. It starts in about 1 min 30 s.'
  );
  expect(waitingFor(makeJob('b', 'QUEUED'), trans)).toBe('Waiting for its turn.');
});

test('elapsed time runs until the end, and is null before the start', () => {
  const started = { started_at: '2026-01-02T03:04:05Z' };
  const now = Date.parse('2026-01-02T03:04:15Z');
  expect(elapsed(makeJob('a', 'QUEUED'), now)).toBeNull();
  expect(elapsed(makeJob('a', 'RUNNING', started), now)).toBe(10);
  const ended = makeJob('a', 'SUCCEEDED', { ...started, ended_at: '2026-01-02T03:04:12Z' });
  expect(elapsed(ended, now)).toBe(7);
});
