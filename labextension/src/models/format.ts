import type { TranslationBundle } from '@jupyterlab/translation';

import type { Job, JobState } from '../api/contract';

const ENDED: ReadonlySet<JobState> = new Set<JobState>([
  'SUCCEEDED',
  'FAILED',
  'CANCELLED',
  'INTERRUPTED'
]);

/** True for the four ends. */
export function hasEnded(job: Job): boolean {
  return ENDED.has(job.state);
}

/** True where a new attempt may follow and can help. */
export function canResume(job: Job): boolean {
  return job.resumable;
}

/** True where a request to stop means something. */
export function canCancel(job: Job): boolean {
  return !hasEnded(job) && job.state !== 'STOPPING';
}

/** The job's title for people. */
export function title(job: Job): string {
  return job.name || job.kind;
}

/** The name at the end of a path; a name as it is. */
export function lastPart(path: string): string {
  return path.split('/').filter(Boolean).pop() ?? path;
}

/** The model that a job is about, where its arguments name one. */
export function modelOf(job: Job): string {
  const model = job.spec.arguments?.model;
  return typeof model === 'string' ? lastPart(model) : '';
}

/** 1536 -> "1.5 kB"; decimal units, as disks are sold. */
export function size(bytes: number): string {
  let value = bytes;
  for (const unit of ['B', 'kB', 'MB', 'GB']) {
    if (value < 1000) {
      return `${short(value)} ${unit}`;
    }
    value /= 1000;
  }
  return `${short(value)} TB`;
}

/** 690176 -> "0.69M", 7240000000 -> "7.2B". */
export function count(number: number): string {
  if (number >= 1e9) {
    return `${short(number / 1e9)}B`;
  }
  if (number >= 1e5) {
    return `${short(number / 1e6)}M`;
  }
  return number.toLocaleString();
}

function short(value: number): string {
  return value >= 100 || Number.isInteger(value) ? value.toFixed(0) : value.toPrecision(2);
}

/** 83 -> "1 min 23 s". */
export function duration(seconds: number, trans: TranslationBundle): string {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) {
    return trans.__('%1 s', whole);
  }
  if (whole < 3600) {
    return trans.__('%1 min %2 s', Math.floor(whole / 60), whole % 60);
  }
  return trans.__('%1 h %2 min', Math.floor(whole / 3600), Math.floor((whole % 3600) / 60));
}

/**
 * Why a queued job waits, its place, and about how long.
 *
 * In a paused queue all wait for the same reason: the first job says it, the others only their places.
 */
export function waitingFor(job: Job, trans: TranslationBundle, paused = false): string {
  const { position, wait_seconds: wait } = job;
  const behind = paused && typeof position === 'number' && position > 1;
  return [
    behind ? '' : job.pending_reason || trans.__('Waiting for its turn.'),
    typeof position === 'number' ? trans.__('Number %1 in its queue.', position) : '',
    typeof wait === 'number' ? trans.__('It starts in about %1.', duration(wait, trans)) : ''
  ]
    .filter(Boolean)
    .join(' ');
}

/** How long ago an ISO time was, in one unit. */
export function age(iso: string, trans: TranslationBundle, now: number = Date.now()): string {
  const seconds = Math.max(0, (now - Date.parse(iso)) / 1000);
  if (seconds < 60) {
    return trans.__('just now');
  }
  if (seconds < 3600) {
    return trans.__('%1 min ago', Math.floor(seconds / 60));
  }
  if (seconds < 86400) {
    return trans.__('%1 h ago', Math.floor(seconds / 3600));
  }
  return trans._n('%1 day ago', '%1 days ago', Math.floor(seconds / 86400));
}

/** A state as a word for people. */
export function stateLabel(state: JobState, trans: TranslationBundle): string {
  switch (state) {
    case 'QUEUED':
      return trans.__('Queued');
    case 'STARTING':
      return trans.__('Starting');
    case 'RUNNING':
      return trans.__('Running');
    case 'STOPPING':
      return trans.__('Stopping');
    case 'SUCCEEDED':
      return trans.__('Succeeded');
    case 'FAILED':
      return trans.__('Failed');
    case 'CANCELLED':
      return trans.__('Cancelled');
    case 'INTERRUPTED':
      return trans.__('Interrupted');
  }
}

/** How long the newest attempt has taken, or null where it has not begun. */
export function elapsed(job: Job, now: number = Date.now()): number | null {
  if (!job.started_at) {
    return null;
  }
  const end = job.ended_at ? Date.parse(job.ended_at) : now;
  return Math.max(0, (end - Date.parse(job.started_at)) / 1000);
}
