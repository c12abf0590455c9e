import type { TranslationBundle } from '@jupyterlab/translation';
import type { CommandRegistry } from '@lumino/commands';
import * as React from 'react';

import type { CatalogModel } from '../models/catalog';
import { CommandIDs } from '../tokens';
import { age, stateLabel } from '../models/format';
import { Empty } from './empty';

interface IDeploymentsProps {
  catalog: CatalogModel;
  commands: CommandRegistry;
  trans: TranslationBundle;
}

/** The models that are served. */
export function Deployments({ catalog, commands, trans }: IDeploymentsProps): React.JSX.Element {
  if (catalog.deployments.length === 0) {
    return (
      <Empty>{trans.__('No model is served. Choose Serve beside a model to chat with it.')}</Empty>
    );
  }
  return (
    <ul className="jp-IlabList" aria-label={trans.__('Served models')}>
      {catalog.deployments.map(({ model, ready, job }) => (
        <li className="jp-IlabItem" key={job.id} aria-label={model}>
          <div className="jp-IlabItem-head">
            <span className="jp-IlabItem-title" title={job.id}>
              {model}
            </span>
            <span className="jp-IlabBadge" data-state={ready ? 'SUCCEEDED' : job.state}>
              {ready ? trans.__('Ready') : stateLabel(job.state, trans)}
            </span>
          </div>
          <div className="jp-IlabItem-facts">
            {[job.progress.phase, age(job.created_at, trans)].filter(Boolean).join(' · ')}
          </div>
          <div className="jp-IlabItem-actions">
            <button
              className="jp-IlabButton"
              aria-label={trans.__('Open the log of %1', model)}
              onClick={() => void commands.execute(CommandIDs.openLog, { id: job.id })}
            >
              {trans.__('Log')}
            </button>
            <button
              className="jp-IlabButton"
              disabled={job.state === 'STOPPING'}
              aria-label={trans.__('Stop serving %1', model)}
              onClick={() => void commands.execute(CommandIDs.stopServing, { id: job.id })}
            >
              {trans.__('Stop')}
            </button>
          </div>
        </li>
      ))}
    </ul>
  );
}
