import { ReactWidget } from '@jupyterlab/ui-components';
import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { describeError } from '../api/request';
import type { CatalogModel } from '../models/catalog';
import type { DatasetRow, DatasetRows } from '../api/contract';

const PAGE = 20;

interface IPart {
  name: string;
  text: string;
}

function asText(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value, null, 1);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A row as named texts: its messages where it has some, its fields otherwise. */
function partsOf(row: DatasetRow): IPart[] {
  if (!isRecord(row.value)) {
    return [{ name: row.problem, text: row.value === null ? '' : asText(row.value) }];
  }
  const { messages } = row.value;
  if (Array.isArray(messages) && messages.every(isRecord)) {
    return messages.map(({ role, content }) => ({ name: String(role), text: asText(content) }));
  }
  return Object.entries(row.value).map(([name, value]) => ({ name, text: asText(value) }));
}

function Row(props: { row: DatasetRow }): React.JSX.Element {
  return (
    <dl className="jp-IlabRow">
      {partsOf(props.row).map((part, index) => (
        <div key={index}>
          <dt>{part.name}</dt>
          <dd>{part.text}</dd>
        </div>
      ))}
    </dl>
  );
}

interface IRowsProps {
  catalog: CatalogModel;
  dataset: string;
  file: string;
  trans: TranslationBundle;
}

function RowsPage({ catalog, dataset, file, trans }: IRowsProps): React.JSX.Element {
  const [offset, setOffset] = React.useState(0);
  const [page, setPage] = React.useState<DatasetRows | null>(null);
  const [error, setError] = React.useState('');
  React.useEffect(() => {
    let current = true;
    catalog.rows(dataset, file, offset, PAGE).then(
      rows => {
        if (current) {
          setPage(rows);
          setError('');
        }
      },
      (reason: unknown) => current && setError(describeError(reason))
    );
    return () => {
      current = false;
    };
  }, [catalog, dataset, file, offset]);

  const shown = page?.rows.length ?? 0;
  const total = page?.total ?? 0;
  return (
    <div className="jp-IlabRows">
      <div className="jp-IlabRows-bar">
        <strong>{file}</strong>
        <span>
          {shown > 0
            ? trans.__('rows %1 to %2 of %3', offset + 1, offset + shown, total)
            : trans.__('no rows')}
        </span>
        <button
          className="jp-IlabButton"
          disabled={offset === 0}
          onClick={() => setOffset(Math.max(0, offset - PAGE))}
        >
          {trans.__('Previous')}
        </button>
        <button
          className="jp-IlabButton"
          disabled={offset + PAGE >= total}
          onClick={() => setOffset(offset + PAGE)}
        >
          {trans.__('Next')}
        </button>
      </div>
      {error ? (
        <div className="jp-IlabItem-note" data-state="FAILED" role="alert">
          {error}
        </div>
      ) : null}
      <ol className="jp-IlabList" aria-label={trans.__('Rows of %1', file)}>
        {page?.rows.map(row => (
          <li key={row.number} value={row.number}>
            <Row row={row} />
          </li>
        ))}
      </ol>
    </div>
  );
}

/** The rows of a dataset's file, page by page, as text. */
export class DatasetView extends ReactWidget {
  constructor(
    private readonly catalog: CatalogModel,
    readonly name: string,
    readonly file: string,
    private readonly trans: TranslationBundle
  ) {
    super();
    this.addClass('jp-IlabDataset');
  }

  protected render(): React.JSX.Element {
    return (
      <RowsPage catalog={this.catalog} dataset={this.name} file={this.file} trans={this.trans} />
    );
  }
}
