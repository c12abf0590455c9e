import { ReactWidget } from '@jupyterlab/ui-components';
import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import { describeError } from './api';
import type { CatalogModel } from './catalog';
import type { Rows } from './contract';

const PAGE = 20;

interface IMessage {
  role: string;
  content: string;
}

function messagesOf(row: Record<string, unknown>): IMessage[] | null {
  const messages = row.messages;
  if (!Array.isArray(messages)) {
    return null;
  }
  return messages.map((message: Partial<IMessage>) => ({
    role: String(message?.role ?? ''),
    content: String(message?.content ?? '')
  }));
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value, null, 1);
}

function Row(props: { row: Record<string, unknown> }): React.JSX.Element {
  const parts =
    messagesOf(props.row) ??
    Object.entries(props.row).map(([role, value]) => ({ role, content: text(value) }));
  return (
    <dl className="jp-IlabRow">
      {parts.map((part, index) => (
        <div key={index} data-role={part.role}>
          <dt>{part.role}</dt>
          <dd>{part.content}</dd>
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
  const [page, setPage] = React.useState<Rows | null>(null);
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
  return (
    <div className="jp-IlabRows">
      <div className="jp-IlabRows-bar">
        <strong>{file}</strong>
        <span>
          {shown > 0 && page
            ? trans.__('rows %1 to %2', page.offset + 1, page.offset + shown)
            : trans.__('no more rows')}
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
          disabled={shown < PAGE}
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
      <ol className="jp-IlabList" start={offset + 1} aria-label={trans.__('Rows of %1', file)}>
        {page?.rows.map((row, index) => (
          <li key={page.offset + index}>
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
