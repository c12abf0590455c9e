import type { TranslationBundle } from '@jupyterlab/translation';
import type { CommandRegistry } from '@lumino/commands';
import * as React from 'react';

import type { CatalogModel } from '../models/catalog';
import { CommandIDs } from '../tokens';
import { age, size } from '../models/format';
import { Empty } from './empty';

interface IDatasetsProps {
  catalog: CatalogModel;
  commands: CommandRegistry;
  trans: TranslationBundle;
}

/** The datasets on disk, with their files. */
export function Datasets({ catalog, commands, trans }: IDatasetsProps): React.JSX.Element {
  if (catalog.datasets.length === 0) {
    return (
      <Empty code="%ilab generate FOLDER">{trans.__('No datasets yet. In a notebook:')}</Empty>
    );
  }
  return (
    <ul className="jp-IlabList" aria-label={trans.__('Datasets')}>
      {catalog.datasets.map(dataset => (
        <li className="jp-IlabItem" key={dataset.path} aria-label={dataset.name}>
          <div className="jp-IlabItem-head">
            <span className="jp-IlabItem-title" title={dataset.path}>
              {dataset.name}
            </span>
            <button
              className="jp-IlabButton"
              aria-label={trans.__('Remove the dataset %1', dataset.name)}
              onClick={() =>
                void commands.execute(CommandIDs.removeDataset, { dataset: dataset.name })
              }
            >
              {trans.__('Remove')}
            </button>
          </div>
          <div className="jp-IlabItem-facts">
            {size(dataset.size_bytes)} · {age(dataset.created_at, trans)}
          </div>
          <ul className="jp-IlabFiles" aria-label={trans.__('Files of %1', dataset.name)}>
            {dataset.files.map(file => (
              <li key={file.name}>
                <button
                  className="jp-IlabLink"
                  title={trans.__('Look at the rows of %1 (%2)', file.name, file.role)}
                  onClick={() =>
                    void commands.execute(CommandIDs.openDataset, {
                      dataset: dataset.name,
                      file: file.name
                    })
                  }
                >
                  {file.name}
                </button>
                <span className="jp-IlabItem-facts">
                  {trans._n('%1 row', '%1 rows', file.rows)}
                </span>
              </li>
            ))}
          </ul>
        </li>
      ))}
    </ul>
  );
}
