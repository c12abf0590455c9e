import type { TranslationBundle } from '@jupyterlab/translation';
import type { CommandRegistry } from '@lumino/commands';
import * as React from 'react';

import { CommandIDs } from '../tokens';
import type { QueueState } from '../api/contract';

interface IQueueProps {
  state: QueueState | null;
  commands: CommandRegistry;
  trans: TranslationBundle;
}

/** For the heading of the jobs: nothing more is to start. */
export function PauseQueue({ state, commands, trans }: IQueueProps): React.JSX.Element | null {
  if (state === null || state.paused) {
    return null;
  }
  return (
    <button
      className="jp-IlabButton"
      aria-label={trans.__('Pause the queue')}
      title={trans.__('Start no more jobs; live ones go on')}
      onClick={() => void commands.execute(CommandIDs.pauseQueue)}
    >
      {trans.__('Pause')}
    </button>
  );
}

/** That nothing is started, by whom and why, and the button that ends it. */
export function PausedQueue({ state, commands, trans }: IQueueProps): React.JSX.Element | null {
  if (state === null || !state.paused) {
    return null;
  }
  const by = state.paused_by ?? '';
  return (
    <div className="jp-IlabItem" role="status">
      <div className="jp-IlabItem-note" data-state="INTERRUPTED">
        {state.paused_reason
          ? trans.__('The queue is paused by %1: %2', by, state.paused_reason)
          : trans.__('The queue is paused by %1.', by)}
      </div>
      <div className="jp-IlabItem-actions">
        <button
          className="jp-IlabButton"
          onClick={() => void commands.execute(CommandIDs.resumeQueue)}
        >
          {trans.__('Resume the queue')}
        </button>
      </div>
    </div>
  );
}
