import { Clipboard } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { CommandRegistry } from '@lumino/commands';
import * as React from 'react';

import { CommandIDs } from '../tokens';
import type { Job, JobState } from '../api/contract';
import {
  age,
  canCancel,
  canResume,
  duration,
  elapsed,
  hasEnded,
  modelOf,
  stateLabel,
  title,
  waitingFor
} from '../models/format';
import { JobProgress } from './progress';

/** A state in words, with a colour and a shape. */
export function StateBadge(props: {
  state: JobState;
  trans: TranslationBundle;
}): React.JSX.Element {
  return (
    <span className="jp-IlabBadge" data-state={props.state}>
      {stateLabel(props.state, props.trans)}
    </span>
  );
}

/** The next step as a command for a cell, to be copied. */
function Remedy(props: { command: string; trans: TranslationBundle }): React.JSX.Element {
  const { command, trans } = props;
  return (
    <div className="jp-IlabItem-remedy">
      <code>{command}</code>
      <button
        className="jp-IlabButton"
        onClick={() => Clipboard.copyToSystem(command)}
        aria-label={trans.__('Copy %1', command)}
      >
        {trans.__('Copy')}
      </button>
    </div>
  );
}

interface IJobProps {
  job: Job;
  busy: boolean;
  /** The queue is paused: that is said once above the list and by the job that is next. */
  paused: boolean;
  commands: CommandRegistry;
  trans: TranslationBundle;
}

/** One job: title, progress and actions. */
export function JobCard({ job, busy, paused, commands, trans }: IJobProps): React.JSX.Element {
  const name = title(job);
  const run = (command: string) => (): void => void commands.execute(command, { id: job.id });
  const seconds = elapsed(job);
  const facts = [
    job.kind === name ? '' : job.kind,
    modelOf(job),
    age(job.created_at, trans),
    hasEnded(job) && seconds !== null ? trans.__('took %1', duration(seconds, trans)) : '',
    job.attempt > 1 ? trans.__('attempt %1', job.attempt) : ''
  ].filter(Boolean);
  const unhappy = hasEnded(job) && job.state !== 'SUCCEEDED';
  return (
    <li className="jp-IlabItem" data-job={job.id} aria-label={name}>
      <div className="jp-IlabItem-head">
        <span className="jp-IlabItem-title" title={`${name} (${job.id})`}>
          {name}
        </span>
      </div>
      <div className="jp-IlabItem-head">
        <code className="jp-IlabItem-id">{job.id}</code>
        <StateBadge state={job.state} trans={trans} />
      </div>
      <div className="jp-IlabItem-facts" title={new Date(job.created_at).toLocaleString()}>
        {facts.join(' · ')}
      </div>
      {job.state === 'QUEUED' ? (
        <div className="jp-IlabItem-note">{waitingFor(job, trans, paused)}</div>
      ) : null}
      {hasEnded(job) || job.state === 'QUEUED' ? null : <JobProgress job={job} trans={trans} />}
      {unhappy && (job.message || job.hint) ? (
        <div className="jp-IlabItem-note" data-state={job.state}>
          {job.message} {job.hint ? <em>{job.hint}</em> : null}
          {job.remedy ? <Remedy command={`%ilab ${job.remedy}`} trans={trans} /> : null}
        </div>
      ) : null}
      <div className="jp-IlabItem-actions">
        <button
          className="jp-IlabButton"
          onClick={run(CommandIDs.openLog)}
          aria-label={trans.__('Open the log of %1', name)}
        >
          {trans.__('Log')}
        </button>
        {canCancel(job) ? (
          <button
            className="jp-IlabButton"
            disabled={busy}
            onClick={run(CommandIDs.cancelJob)}
            aria-label={trans.__('Cancel %1', name)}
          >
            {trans.__('Cancel')}
          </button>
        ) : null}
        {canResume(job) ? (
          <button
            className="jp-IlabButton"
            disabled={busy}
            onClick={run(CommandIDs.resumeJob)}
            aria-label={trans.__('Resume %1', name)}
          >
            {trans.__('Resume')}
          </button>
        ) : null}
        {hasEnded(job) ? (
          <button
            className="jp-IlabButton"
            disabled={busy}
            onClick={run(CommandIDs.removeJob)}
            aria-label={trans.__('Remove %1', name)}
          >
            {trans.__('Remove')}
          </button>
        ) : null}
      </div>
    </li>
  );
}
