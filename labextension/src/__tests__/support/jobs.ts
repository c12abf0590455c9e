import type { Job, JobPage, JobState, QueueState } from '../../api/contract';

/** A job as the server describes it; `fields` replace the defaults. */
export function makeJob(id: string, state: JobState, fields: Partial<Job> = {}): Job {
  return {
    attempt: 1,
    cause: null,
    created_at: '2026-01-02T03:04:05Z',
    devices: [],
    ended_at: null,
    exit_code: null,
    id,
    kind: 'train',
    message: null,
    name: '',
    hint: null,
    owner: 'ada',
    pending_reason: null,
    position: null,
    progress: { phase: '', message: '', step: 0, total: null, eta_seconds: null, metrics: {} },
    remedy: null,
    result: {},
    resumable: false,
    spec: makeSpec({}),
    started_at: null,
    state,
    version: 1,
    wait_seconds: null,
    ...fields
  };
}

/** The spec of a job with these arguments. */
export function makeSpec(args: Record<string, unknown>): Job['spec'] {
  return {
    kind: 'train',
    name: '',
    priority: 0,
    queue: '',
    arguments: args,
    resources: { cpus: null, disk_gb: null, gpu_memory_gb: null, gpus: null, memory_gb: null }
  };
}

export function makePage(jobs: Job[], cursor: string | null = null): JobPage {
  return { jobs, cursor };
}

/** The state of a queue that starts jobs. */
export const OPEN_QUEUE: QueueState = {
  paused: false,
  paused_by: null,
  paused_reason: '',
  slots: { batch: 1 },
  used: {}
};
