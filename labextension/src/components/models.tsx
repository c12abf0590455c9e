import type { TranslationBundle } from '@jupyterlab/translation';
import type { CommandRegistry } from '@lumino/commands';
import * as React from 'react';

import type { CatalogModel } from '../models/catalog';
import { CommandIDs } from '../tokens';
import type { ModelEntry } from '../api/contract';
import { age, count, lastPart, size } from '../models/format';
import { Empty } from './empty';

interface IModelsProps {
  catalog: CatalogModel;
  commands: CommandRegistry;
  trans: TranslationBundle;
}

/** The models on disk. */
export function Models({ catalog, commands, trans }: IModelsProps): React.JSX.Element {
  const served = new Set(
    catalog.deployments.map(deployment => deployment.job.spec.arguments?.model)
  );
  const facts = (model: ModelEntry): string =>
    [
      model.kind === 'adapter' ? trans.__('adapter') : '',
      model.parameters ? trans.__('%1 parameters', count(model.parameters)) : '',
      size(model.size_bytes),
      model.base ? trans.__('from %1', lastPart(model.base)) : '',
      model.builtin ? trans.__('built in') : age(model.modified_at, trans),
      model.problem ? trans.__('damaged: %1', model.problem) : ''
    ]
      .filter(Boolean)
      .join(' · ');
  if (catalog.models.length === 0) {
    return (
      <Empty code="%ilab train --model starter">{trans.__('No models yet. In a notebook:')}</Empty>
    );
  }
  return (
    <ul className="jp-IlabList" aria-label={trans.__('Models')}>
      {catalog.models.map(model => (
        <li className="jp-IlabItem" key={model.path} aria-label={model.name}>
          <div className="jp-IlabItem-head">
            <span className="jp-IlabItem-title" title={model.path}>
              {model.name}
            </span>
            <button
              className="jp-IlabButton"
              disabled={served.has(model.name) || served.has(model.path)}
              aria-label={trans.__('Serve %1', model.name)}
              onClick={() => void commands.execute(CommandIDs.serveModel, { model: model.name })}
            >
              {trans.__('Serve')}
            </button>
          </div>
          <div className="jp-IlabItem-facts">{facts(model)}</div>
          {model.builtin ? null : (
            <div className="jp-IlabItem-actions">
              <button
                className="jp-IlabButton"
                aria-label={trans.__('Remove the model %1', model.name)}
                onClick={() => void commands.execute(CommandIDs.removeModel, { model: model.name })}
              >
                {trans.__('Remove')}
              </button>
            </div>
          )}
        </li>
      ))}
    </ul>
  );
}
