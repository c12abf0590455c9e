import type { ILayoutRestorer, JupyterFrontEnd } from '@jupyterlab/application';
import { MainAreaWidget, WidgetTracker } from '@jupyterlab/apputils';
import { URLExt } from '@jupyterlab/coreutils';
import type { TranslationBundle } from '@jupyterlab/translation';
import { SplitPanel, TabPanel, type Widget } from '@lumino/widgets';

import type { CatalogModel } from '../models/catalog';
import { CommandIDs } from '../tokens';
import { DatasetView } from '../views/dataset';
import { title } from '../models/format';
import { instructLabIcon } from '../components/icons';
import { LogHeader } from '../views/logheader';
import { LogView } from '../views/log';
import type { JobsModel } from '../models/jobs';

/** The part of the page's height that the down area has at least when a tab is opened in it. */
const DOWN_SHARE = 0.4;

/** Give `panel` its share of the split where it has less. */
function raise(split: SplitPanel, panel: Widget): void {
  const sizes = split.relativeSizes();
  const index = split.widgets.indexOf(panel);
  const rest = 1 - sizes[index];
  if (sizes[index] < DOWN_SHARE && rest > 0) {
    const scale = (1 - DOWN_SHARE) / rest;
    split.setRelativeSizes(sizes.map((size, at) => (at === index ? DOWN_SHARE : size * scale)));
  }
}

/**
 * Tabs, one a log, one a dataset's file. They come back when the page is loaded again.
 *
 * `area` is where the shell takes them: `main` in JupyterLab, `down` in Notebook 7, whose main area holds the
 * notebook alone.
 */
export class Tabs {
  constructor(
    private readonly app: JupyterFrontEnd,
    private readonly jobs: JobsModel,
    private readonly catalog: CatalogModel,
    private readonly trans: TranslationBundle,
    private readonly area: 'main' | 'down'
  ) {}

  /** How many lines a log tab keeps, for tabs opened from now on. */
  logLines = 5000;

  openLog(id: string): void {
    const open = this.logs.find(widget => widget.content.jobId === id);
    if (open) {
      this.activate(open);
      return;
    }
    const { jobs, trans } = this;
    const view = new LogView(jobs, id, this.logLines, trans);
    const widget = new MainAreaWidget<LogView>({ content: view });
    widget.id = `ilab-log-${id}`;
    const name = (): void => {
      const job = jobs.get(id);
      widget.title.label = job ? trans.__('Log: %1', title(job)) : trans.__('Log');
    };
    // A restored tab is there before its job is known.
    name();
    jobs.changed.connect(name);
    widget.disposed.connect(() => jobs.changed.disconnect(name));
    const path = `ilab/api/jobs/${encodeURIComponent(id)}/log?download=true`;
    const download = URLExt.join(jobs.settings.baseUrl, path);
    // A toolbar would fold the header away where it is narrow.
    widget.toolbar.hide();
    widget.contentHeader.addWidget(new LogHeader(view, jobs, this.app.commands, download, trans));
    void this.logs.add(widget);
    this.show(widget, id);
  }

  openDataset(dataset: string, file: string): void {
    const open = this.datasets.find(
      ({ content }) => content.name === dataset && content.file === file
    );
    if (open) {
      this.activate(open);
      return;
    }
    const content = new DatasetView(this.catalog, dataset, file, this.trans);
    const widget = new MainAreaWidget<DatasetView>({ content });
    widget.id = `ilab-dataset-${dataset}-${file}`;
    widget.toolbar.hide();
    widget.title.label = file;
    void this.datasets.add(widget);
    this.show(widget, `${dataset}: ${file}`);
  }

  /** Bring back what was open. */
  restore(restorer: ILayoutRestorer): void {
    void restorer.restore(this.logs, {
      command: CommandIDs.openLog,
      args: ({ content }) => ({ id: content.jobId }),
      name: ({ content }) => content.jobId
    });
    void restorer.restore(this.datasets, {
      command: CommandIDs.openDataset,
      args: ({ content }) => ({ dataset: content.name, file: content.file }),
      name: ({ content }) => `${content.name}/${content.file}`
    });
  }

  private show(widget: Widget, caption: string): void {
    widget.title.caption = caption;
    widget.title.icon = instructLabIcon;
    widget.title.closable = true;
    this.app.shell.add(widget, this.area);
    this.activate(widget);
  }

  private activate(widget: Widget): void {
    this.app.shell.activateById(widget.id);
    // The shell of Notebook 7 shows its down area as it was: low, and with another tab in front.
    const panel = widget.parent?.parent;
    if (this.area === 'down' && panel instanceof TabPanel) {
      panel.currentWidget = widget;
      if (panel.parent instanceof SplitPanel) {
        raise(panel.parent, panel);
      }
    }
  }

  private readonly logs = new WidgetTracker<MainAreaWidget<LogView>>({ namespace: 'ilab-logs' });
  private readonly datasets = new WidgetTracker<MainAreaWidget<DatasetView>>({
    namespace: 'ilab-datasets'
  });
}
