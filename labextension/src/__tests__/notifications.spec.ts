import { afterEach, expect, test } from '@jest/globals';
import { Notification } from '@jupyterlab/apputils';
import { nullTranslator } from '@jupyterlab/translation';

import type { Job, JobState } from '../api/contract';
import { tellEnd } from '../plugins/notifications';
import { makeJob } from './support/jobs';

const trans = nullTranslator.load('ilab_jupyter');

afterEach(() => {
  Notification.manager.dismiss();
});

/** Report the end of `job`; return the notification and the ids of logs opened through it. */
function report(job: Job): { shown: Notification.INotification; opened: string[] } {
  const opened: string[] = [];
  tellEnd(job, id => opened.push(id), trans);
  expect(Notification.manager.count).toBe(1);
  return { shown: Notification.manager.notifications[0], opened };
}

test.each<[JobState, Notification.TypeOptions, number | false]>([
  ['SUCCEEDED', 'success', 8000],
  ['CANCELLED', 'info', 8000],
  ['FAILED', 'error', false],
  ['INTERRUPTED', 'error', false]
])('the end %s is shown as %s for %s ms', (state, type, autoClose) => {
  const { shown } = report(makeJob('a', state));
  expect(shown.type).toBe(type);
  expect(shown.options.autoClose).toBe(autoClose);
});

test('the message has the name, the outcome, the reason and the next step', () => {
  const { shown } = report(
    makeJob('a', 'FAILED', { name: 'doomed', message: 'No weights.', hint: 'Choose another.' })
  );
  expect(shown.message).toBe('doomed: failed. No weights. Choose another.');
});

test('the action opens the log of the job', () => {
  const { shown, opened } = report(makeJob('train-7', 'SUCCEEDED'));
  expect(shown.options.actions?.map(action => action.label)).toEqual(['Open log']);
  shown.options.actions?.[0].callback(new MouseEvent('click'));
  expect(opened).toEqual(['train-7']);
});
