import type { TranslationBundle } from '@jupyterlab/translation';
import { ReactWidget, refreshIcon, UseSignal } from '@jupyterlab/ui-components';
import type { CommandRegistry } from '@lumino/commands';
import { Signal } from '@lumino/signaling';
import * as React from 'react';

import type { CatalogModel } from '../models/catalog';
import { CommandIDs } from '../tokens';
import { Datasets } from '../components/datasets';
import { Deployments } from '../components/deployments';
import { Jobs } from '../components/jobs';
import { Models } from '../components/models';
import { PauseQueue } from '../components/queue';
import { Section } from '../components/section';
import type { Handshake } from '../api/handshake';
import { instructLabIcon } from '../components/icons';
import type { JobsModel } from '../models/jobs';

export interface IPanelOptions {
  jobs: JobsModel;
  catalog: CatalogModel;
  commands: CommandRegistry;
  trans: TranslationBundle;
  /** Ask the server again who it is. */
  retry: () => void;
}

/** The sidebar: jobs, models, datasets and what is served. Inert until both halves have met. */
export class InstructLabPanel extends ReactWidget {
  constructor(private readonly options: IPanelOptions) {
    super();
    const { trans } = options;
    this.id = 'ilab-panel';
    this.addClass('jp-IlabPanel');
    this.title.icon = instructLabIcon;
    this.title.caption = trans.__('InstructLab');
    this.node.setAttribute('role', 'region');
    this.node.setAttribute('aria-label', trans.__('InstructLab'));
  }

  /** What was learned of the server; null while the answer is awaited. */
  set handshake(value: Handshake | null) {
    this._handshake = value;
    this.met.emit();
  }

  dispose(): void {
    Signal.clearData(this);
    super.dispose();
  }

  protected render(): React.JSX.Element {
    return <UseSignal signal={this.met}>{() => this.body()}</UseSignal>;
  }

  private body(): React.JSX.Element {
    const { trans, retry } = this.options;
    const met = this._handshake;
    if (met === null) {
      return <div className="jp-IlabEmpty">{trans.__('Loading …')}</div>;
    }
    if (met.kind !== 'ready') {
      return (
        <div className="jp-IlabEmpty" role="alert">
          <p>{met.message}</p>
          {met.kind === 'missing' ? <pre>{met.command}</pre> : null}
          <button className="jp-IlabButton" onClick={retry}>
            {trans.__('Try again')}
          </button>
        </div>
      );
    }
    return <Sections {...this.options} warning={met.warning} />;
  }

  private _handshake: Handshake | null = null;
  private readonly met = new Signal<this, void>(this);
}

/** Renders again now and then, so that "2 min ago" stays true. */
function useClock(): void {
  const [, tick] = React.useReducer((count: number) => count + 1, 0);
  React.useEffect(() => {
    const timer = window.setInterval(tick, 20_000);
    return () => window.clearInterval(timer);
  }, []);
}

function Sections(props: IPanelOptions & { warning: string }): React.JSX.Element {
  const { jobs, catalog, commands, trans } = props;
  useClock();
  return (
    <>
      <div className="jp-IlabPanel-header">
        <h2>{trans.__('InstructLab')}</h2>
        <UseSignal signal={jobs.changed}>
          {() => (
            <span
              className="jp-IlabPanel-connection"
              data-connected={jobs.stream.connected}
              role="status"
            >
              {jobs.stream.connected ? trans.__('live') : trans.__('connecting …')}
            </span>
          )}
        </UseSignal>
        <button
          className="jp-IlabButton jp-mod-icon"
          aria-label={trans.__('Refresh')}
          title={trans.__('Refresh')}
          onClick={() => void commands.execute(CommandIDs.refresh)}
        >
          <refreshIcon.react tag="span" />
        </button>
      </div>
      {props.warning ? <Note>{props.warning}</Note> : null}
      <div className="jp-IlabPanel-sections">
        <UseSignal signal={jobs.changed}>
          {() => (
            <Section
              title={trans.__('Jobs')}
              tall={jobs.jobs.length > 2}
              action={<PauseQueue state={jobs.queue} commands={commands} trans={trans} />}
            >
              {jobs.error ? <Note>{jobs.error}</Note> : null}
              <Jobs model={jobs} commands={commands} trans={trans} />
            </Section>
          )}
        </UseSignal>
        <UseSignal signal={catalog.changed}>
          {() => (
            <>
              {catalog.error ? <Note>{catalog.error}</Note> : null}
              <Section title={trans.__('Served models')} count={catalog.deployments.length}>
                <Deployments catalog={catalog} commands={commands} trans={trans} />
              </Section>
              <Section title={trans.__('Models')} count={catalog.models.length}>
                {catalog.loaded ? (
                  <Models catalog={catalog} commands={commands} trans={trans} />
                ) : null}
              </Section>
              <Section title={trans.__('Datasets')} count={catalog.datasets.length}>
                {catalog.loaded ? (
                  <Datasets catalog={catalog} commands={commands} trans={trans} />
                ) : null}
              </Section>
            </>
          )}
        </UseSignal>
      </div>
    </>
  );
}

function Note(props: { children: React.ReactNode }): React.JSX.Element {
  return (
    <div className="jp-IlabItem-note" data-state="FAILED" role="alert">
      {props.children}
    </div>
  );
}
