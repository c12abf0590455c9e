import type { JupyterFrontEnd } from '@jupyterlab/application';
import { Dialog, InputDialog, Notification, showDialog } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { ReadonlyJSONObject, ReadonlyPartialJSONObject } from '@lumino/coreutils';

import { describeError } from '../api/request';
import type { CatalogModel } from '../models/catalog';
import { size } from '../models/format';
import { instructLabIcon } from '../components/icons';
import type { JobsModel } from '../models/jobs';
import { CommandIDs } from '../tokens';
import type { Tabs } from './tabs';

export interface ICommandOptions {
  app: JupyterFrontEnd;
  jobs: JobsModel;
  catalog: CatalogModel;
  trans: TranslationBundle;
  tabs: Tabs;
  openPanel: () => void;
}

/** The argument `name`, where it is a text that is not empty. */
function given(args: ReadonlyPartialJSONObject, name: string): string {
  const value = args[name];
  return typeof value === 'string' ? value : '';
}

function describedBy(
  properties: Record<string, string>,
  required: readonly string[] = Object.keys(properties)
): { args: ReadonlyJSONObject } {
  const described = Object.entries(properties).map(([name, description]) => [
    name,
    { type: 'string', description }
  ]);
  return {
    args: {
      type: 'object',
      properties: Object.fromEntries(described) as ReadonlyJSONObject,
      required: [...required]
    }
  };
}

/** What to tell those whose jobs wait; null where the person thought better of it. */
async function askReason(trans: TranslationBundle): Promise<string | null> {
  const result = await InputDialog.getText({
    title: trans.__('Pause the queue'),
    label: trans.__('No job starts until it is resumed. Why, for those who wait?'),
    okLabel: trans.__('Pause')
  });
  return result.button.accept ? (result.value ?? '') : null;
}

/** Whether the user confirms that something is removed for good. */
async function confirmRemoval(
  title: string,
  body: string,
  trans: TranslationBundle
): Promise<boolean> {
  const answer = await showDialog({
    title,
    body,
    buttons: [
      Dialog.cancelButton({ label: trans.__('Cancel') }),
      Dialog.warnButton({ label: trans.__('Remove') })
    ],
    defaultButton: 0
  });
  return answer.button.accept;
}

/** Everything the panel can do, so that menus, shortcuts and other extensions can do it too. */
export function addCommands(options: ICommandOptions): void {
  const { app, jobs, catalog, tabs, trans } = options;
  const { commands } = app;

  const attempt = async (work: () => Promise<unknown>): Promise<void> => {
    try {
      await work();
    } catch (error) {
      Notification.error(describeError(error), { autoClose: 8000 });
    }
  };

  commands.addCommand(CommandIDs.openPanel, {
    label: trans.__('Show InstructLab'),
    caption: trans.__('Jobs, models, datasets and served models'),
    icon: instructLabIcon,
    describedBy: describedBy({}),
    execute: () => options.openPanel()
  });
  commands.addCommand(CommandIDs.refresh, {
    label: trans.__('Refresh InstructLab'),
    caption: trans.__('Ask the server for jobs, models and datasets again'),
    describedBy: describedBy({}),
    execute: () => attempt(() => Promise.all([jobs.refresh(), catalog.refresh()]))
  });
  commands.addCommand(CommandIDs.openLog, {
    label: args =>
      given(args, 'id') ? trans.__('Open Log') : trans.__('Open the Log of the Newest Job'),
    caption: trans.__('Follow what a job prints'),
    describedBy: describedBy({ id: trans.__('The job; the newest one where left out') }, []),
    isEnabled: args => Boolean(given(args, 'id')) || jobs.jobs.length > 0,
    execute: args => tabs.openLog(given(args, 'id') || jobs.jobs[0].id)
  });
  commands.addCommand(CommandIDs.openDataset, {
    label: trans.__('Look at a Dataset'),
    caption: trans.__('The rows of a file of a dataset'),
    describedBy: describedBy({ dataset: trans.__('The dataset'), file: trans.__('Its file') }),
    execute: args => tabs.openDataset(given(args, 'dataset'), given(args, 'file'))
  });
  commands.addCommand(CommandIDs.cancelJob, {
    label: trans.__('Cancel Job'),
    caption: trans.__('Ask a job to stop; it saves a checkpoint first where it can'),
    describedBy: describedBy({ id: trans.__('The job') }),
    execute: args => attempt(() => jobs.cancel(given(args, 'id')))
  });
  commands.addCommand(CommandIDs.resumeJob, {
    label: trans.__('Resume Job'),
    caption: trans.__('Start a new attempt from the last checkpoint'),
    describedBy: describedBy({ id: trans.__('The job') }),
    execute: args => attempt(() => jobs.resume(given(args, 'id')))
  });
  commands.addCommand(CommandIDs.pauseQueue, {
    label: trans.__('Pause the Queue'),
    caption: trans.__('Start no more jobs for now; those that run go on'),
    describedBy: describedBy({ reason: trans.__('The reason; a dialog opens where left out') }, []),
    execute: args =>
      attempt(async () => {
        const reason = given(args, 'reason') || (await askReason(trans));
        if (reason !== null) {
          await jobs.pause(reason);
        }
      })
  });
  commands.addCommand(CommandIDs.resumeQueue, {
    label: trans.__('Resume the Queue'),
    caption: trans.__('Start jobs again'),
    describedBy: describedBy({}),
    execute: () => attempt(() => jobs.unpause())
  });
  commands.addCommand(CommandIDs.serveModel, {
    label: trans.__('Serve Model'),
    caption: trans.__('Offer a model at ilab/v1, to chat with it'),
    describedBy: describedBy({ model: trans.__('The model') }),
    execute: args => attempt(() => catalog.serve(given(args, 'model')))
  });
  commands.addCommand(CommandIDs.stopServing, {
    label: trans.__('Stop Serving'),
    describedBy: describedBy({ id: trans.__('The job that serves') }),
    execute: args => attempt(() => catalog.stop(given(args, 'id')))
  });
  commands.addCommand(CommandIDs.removeJob, {
    label: trans.__('Remove Job'),
    caption: trans.__('Remove an ended job with its logs and artifacts'),
    describedBy: describedBy({ id: trans.__('The job') }),
    execute: args =>
      attempt(async () => {
        const id = given(args, 'id');
        const job = jobs.get(id);
        const name = job && job.name !== job.kind ? `${job.name} (${id})` : id;
        const body = trans.__(
          'Its logs and artifacts are deleted. A model or a dataset that it made stays.'
        );
        if (await confirmRemoval(trans.__('Remove the job %1?', name), body, trans)) {
          await jobs.remove(id);
        }
      })
  });
  commands.addCommand(CommandIDs.removeModel, {
    label: trans.__('Remove Model'),
    caption: trans.__('Remove a model from disk'),
    describedBy: describedBy({ model: trans.__('The model') }),
    execute: args =>
      attempt(async () => {
        const model = given(args, 'model');
        const entry = catalog.models.find(one => one.name === model);
        const body = trans.__('%1 are deleted from disk.', size(entry?.size_bytes ?? 0));
        if (await confirmRemoval(trans.__('Remove the model %1?', model), body, trans)) {
          await catalog.removeModel(model);
        }
      })
  });
  commands.addCommand(CommandIDs.removeDataset, {
    label: trans.__('Remove Dataset'),
    caption: trans.__('Remove a dataset from disk'),
    describedBy: describedBy({ dataset: trans.__('The dataset') }),
    execute: args =>
      attempt(async () => {
        const dataset = given(args, 'dataset');
        const entry = catalog.datasets.find(one => one.name === dataset);
        const body = trans.__('%1 are deleted from disk.', size(entry?.size_bytes ?? 0));
        if (await confirmRemoval(trans.__('Remove the dataset %1?', dataset), body, trans)) {
          await catalog.removeDataset(dataset);
        }
      })
  });
}
