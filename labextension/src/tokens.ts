import { Token } from '@lumino/coreutils';
import type { ISignal } from '@lumino/signaling';

import type { Job } from './api/contract';

export namespace CommandIDs {
  export const openPanel = 'ilab:open-panel';
  export const refresh = 'ilab:refresh';
  export const openLog = 'ilab:open-log';
  export const openDataset = 'ilab:open-dataset';
  export const cancelJob = 'ilab:cancel-job';
  export const resumeJob = 'ilab:resume-job';
  export const pauseQueue = 'ilab:pause-queue';
  export const resumeQueue = 'ilab:resume-queue';
  export const serveModel = 'ilab:serve-model';
  export const stopServing = 'ilab:stop-serving';
  export const removeJob = 'ilab:remove-job';
  export const removeModel = 'ilab:remove-model';
  export const removeDataset = 'ilab:remove-dataset';
}

/** The jobs as the panel sees them, for other extensions. */
export interface IInstructLabJobs {
  /** The loaded jobs, newest first. */
  readonly jobs: readonly Job[];
  /** Anything in `jobs` or in the connection changed. */
  readonly changed: ISignal<IInstructLabJobs, void>;
  /** A job that was seen live has ended. */
  readonly ended: ISignal<IInstructLabJobs, Job>;
  /** Ask for the newest page again. */
  refresh(): Promise<void>;
  /** Ask a job to stop. */
  cancel(id: string): Promise<void>;
  /** Start a new attempt from the last checkpoint. */
  resume(id: string): Promise<void>;
  /** Remove an ended job with its logs and artifacts. */
  remove(id: string): Promise<void>;
}

export const IInstructLabJobs = new Token<IInstructLabJobs>(
  'ilab-jupyter:IInstructLabJobs',
  'The InstructLab jobs of this server, live.'
);
