import type { TranslationBundle } from '@jupyterlab/translation';
import { ReactWidget, UseSignal } from '@jupyterlab/ui-components';
import type { CommandRegistry } from '@lumino/commands';
import * as React from 'react';

import { CommandIDs } from '../tokens';
import { StateBadge } from '../components/job';
import { JobProgress } from '../components/progress';
import { canCancel, canResume, hasEnded, title } from '../models/format';
import type { LogView } from './log';
import type { JobsModel } from '../models/jobs';

/** Header of a log: the job, its progress, and the switch for following. */
export class LogHeader extends ReactWidget {
  constructor(
    private readonly view: LogView,
    private readonly model: JobsModel,
    private readonly commands: CommandRegistry,
    private readonly download: string,
    private readonly trans: TranslationBundle
  ) {
    super();
    this.addClass('jp-IlabLog-header');
  }

  protected render(): React.JSX.Element {
    return (
      <UseSignal signal={this.view.followChanged}>
        {() => <UseSignal signal={this.model.changed}>{() => this.body()}</UseSignal>}
      </UseSignal>
    );
  }

  private body(): React.JSX.Element {
    const { view, trans, commands } = this;
    const job = this.model.get(view.jobId);
    const run = (command: string) => (): void => void commands.execute(command, { id: view.jobId });
    return (
      <>
        {job ? (
          <>
            <strong className="jp-IlabLog-title">{title(job)}</strong>
            <StateBadge state={job.state} trans={trans} />
            <span className="jp-IlabItem-facts">{trans.__('attempt %1', job.attempt)}</span>
            {hasEnded(job) || job.state === 'QUEUED' ? null : (
              <JobProgress job={job} trans={trans} />
            )}
          </>
        ) : null}
        <span className="jp-IlabLog-space" />
        {job && canCancel(job) ? (
          <button
            className="jp-IlabButton"
            disabled={this.model.busy.has(job.id)}
            onClick={run(CommandIDs.cancelJob)}
          >
            {trans.__('Cancel')}
          </button>
        ) : null}
        {job && canResume(job) ? (
          <button
            className="jp-IlabButton"
            disabled={this.model.busy.has(job.id)}
            onClick={run(CommandIDs.resumeJob)}
          >
            {trans.__('Resume')}
          </button>
        ) : null}
        <a className="jp-IlabButton" href={this.download} download>
          {trans.__('Download')}
        </a>
        <button
          className="jp-IlabButton"
          aria-pressed={view.follow}
          title={trans.__('Stay at the end of the log')}
          onClick={() => {
            view.follow = !view.follow;
          }}
        >
          {trans.__('Follow')}
        </button>
      </>
    );
  }
}
