import type { TranslationBundle } from '@jupyterlab/translation';
import type { CommandRegistry } from '@lumino/commands';
import * as React from 'react';

import type { JobState } from '../api/contract';
import type { JobsModel } from '../models/jobs';
import { Empty } from './empty';
import { JobCard } from './job';
import { PausedQueue } from './queue';

const CHOICES: Record<string, readonly JobState[]> = {
  all: [],
  live: ['QUEUED', 'STARTING', 'RUNNING', 'STOPPING'],
  succeeded: ['SUCCEEDED'],
  failed: ['FAILED', 'CANCELLED', 'INTERRUPTED']
};

interface IJobsProps {
  model: JobsModel;
  commands: CommandRegistry;
  trans: TranslationBundle;
}

/** The job list with its filter. */
export function Jobs({ model, commands, trans }: IJobsProps): React.JSX.Element {
  const [text, setText] = React.useState(model.filter.text);
  const [choice, setChoice] = React.useState(
    () =>
      Object.keys(CHOICES).find(key => CHOICES[key].join() === model.filter.states.join()) ?? 'all'
  );
  React.useEffect(() => {
    const states = CHOICES[choice];
    const now = model.filter;
    if (text === now.text && states.join() === now.states.join()) {
      return;
    }
    // A request for each letter typed would be too many.
    const timer = window.setTimeout(() => model.setFilter({ text, states }), 200);
    return () => window.clearTimeout(timer);
  }, [model, text, choice]);

  const filtered = text !== '' || choice !== 'all';
  const jobs = model.jobs;
  return (
    <>
      <PausedQueue state={model.queue} commands={commands} trans={trans} />
      {jobs.length > 0 || filtered ? (
        <div className="jp-IlabFilter" role="search">
          <input
            type="search"
            value={text}
            placeholder={trans.__('Filter by name')}
            aria-label={trans.__('Filter jobs by name')}
            onChange={event => setText(event.target.value)}
          />
          <select
            value={choice}
            aria-label={trans.__('Filter jobs by state')}
            onChange={event => setChoice(event.target.value)}
          >
            <option value="all">{trans.__('All')}</option>
            <option value="live">{trans.__('Live')}</option>
            <option value="succeeded">{trans.__('Succeeded')}</option>
            <option value="failed">{trans.__('Not succeeded')}</option>
          </select>
        </div>
      ) : null}
      {jobs.length > 0 ? (
        <ul className="jp-IlabList" aria-label={trans.__('Jobs')}>
          {jobs.map(job => (
            <JobCard
              key={job.id}
              job={job}
              busy={model.busy.has(job.id)}
              paused={model.queue?.paused ?? false}
              commands={commands}
              trans={trans}
            />
          ))}
        </ul>
      ) : filtered ? (
        <Empty>{trans.__('No job matches.')}</Empty>
      ) : model.loaded ? (
        <Empty code={'%load_ext ilab_jupyter\n%ilab demo'}>
          {trans.__('No jobs yet. In a notebook:')}
        </Empty>
      ) : null}
      {model.hasMore ? (
        <button className="jp-IlabButton jp-IlabList-more" onClick={() => void model.loadMore()}>
          {trans.__('Load more')}
        </button>
      ) : null}
    </>
  );
}
