import type { TranslationBundle } from '@jupyterlab/translation';
import type { CommandRegistry } from '@lumino/commands';
import * as React from 'react';

import { CommandIDs } from '../commands';
import type { QueueState } from '../contract';

interface IQueueProps {
  state: QueueState | null;
  commands: CommandRegistry;
  trans: TranslationBundle;
}

/** Whether jobs are started at all, and the button that changes it. */
export function Queue({ state, commands, trans }: IQueueProps): React.JSX.Element | null {
  if (state === null) {
    return null;
  }
  const run = (command: string) => (): void => void commands.execute(command);
  if (!state.paused) {
    return (
      <div className="jp-IlabItem-actions">
        <button className="jp-IlabButton" onClick={run(CommandIDs.pauseQueue)}>
          {trans.__('Pause the queue')}
        </button>
      </div>
    );
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
        <button className="jp-IlabButton" onClick={run(CommandIDs.resumeQueue)}>
          {trans.__('Resume the queue')}
        </button>
      </div>
    </div>
  );
}
