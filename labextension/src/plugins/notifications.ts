import { Notification } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';

import type { Job } from '../api/contract';
import { stateLabel, title } from '../models/format';

const SHOWN_MS = 8000;

/** Tell that a job has ended; what went wrong stays until it is read. */
export function tellEnd(job: Job, openLog: (id: string) => void, trans: TranslationBundle): void {
  const outcome = trans.__('%1: %2.', title(job), stateLabel(job.state, trans).toLowerCase());
  const message = [outcome, job.message, job.hint].filter(Boolean).join(' ');
  const actions = [{ label: trans.__('Open log'), callback: () => openLog(job.id) }];
  if (job.state === 'SUCCEEDED') {
    Notification.success(message, { actions, autoClose: SHOWN_MS });
  } else if (job.state === 'CANCELLED') {
    Notification.info(message, { actions, autoClose: SHOWN_MS });
  } else {
    Notification.error(message, { actions, autoClose: false });
  }
}
