import { Token } from '@lumino/coreutils';
import type { ISignal } from '@lumino/signaling';

import type { Job } from './contract';

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
