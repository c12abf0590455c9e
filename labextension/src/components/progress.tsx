import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import type { Job } from '../api/contract';
import { duration } from '../models/format';

function number(value: unknown): number | null {
  return typeof value === 'number' && Number.isFinite(value) ? value : null;
}

/** Progress of a live job: phase, a bar with step of total, the loss and the time left. */
export function JobProgress(props: { job: Job; trans: TranslationBundle }): React.JSX.Element {
  const { trans } = props;
  const { phase, message, step, total, eta_seconds: eta, metrics } = props.job.progress;
  const loss = number(metrics?.loss);
  const known = total !== null && total > 0;
  const percent = known ? Math.min(100, (100 * step) / total) : 0;
  const steps = known
    ? trans.__('%1 of %2', step, total)
    : step > 0
      ? trans.__('%1 done', step)
      : '';
  const facts = [
    phase || message,
    steps,
    loss === null ? '' : trans.__('loss %1', loss.toPrecision(3)),
    eta === null ? '' : trans.__('%1 left', duration(eta, trans))
  ].filter(Boolean);
  // A model is served until it is stopped, so that it has no progress.
  const endless = props.job.kind === 'serve' && props.job.state === 'RUNNING' && !known;
  return (
    <div className="jp-IlabProgress">
      <div
        hidden={endless}
        className="jp-IlabProgress-bar"
        role="progressbar"
        aria-label={trans.__('Progress of %1', props.job.name || props.job.kind)}
        aria-valuemin={0}
        aria-valuemax={known ? total : undefined}
        aria-valuenow={known ? Math.min(step, total) : undefined}
        aria-valuetext={facts.join(', ') || undefined}
        data-indeterminate={known ? undefined : true}
      >
        <div className="jp-IlabProgress-fill" style={{ width: `${percent}%` }} />
      </div>
      <div className="jp-IlabProgress-text">{facts.join(' · ')}</div>
    </div>
  );
}
