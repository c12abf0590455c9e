import {
  ILabShell,
  ILayoutRestorer,
  JupyterFrontEnd,
  JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { CatalogModel } from '../models/catalog';
import { addCommands } from './commands';
import { shakeHands } from '../api/handshake';
import { JobsModel } from '../models/jobs';
import { tellEnd } from './notifications';
import { InstructLabPanel } from '../views/panel';
import { JobStream } from '../api/stream';
import { Tabs } from './tabs';
import { CommandIDs, IInstructLabJobs } from '../tokens';

/** The sidebar, the tabs, the commands and the notifications; the jobs themselves for other extensions. */
const plugin: JupyterFrontEndPlugin<IInstructLabJobs> = {
  id: 'ilab-jupyter:plugin',
  description: 'The InstructLab panel: jobs, models, datasets and served models.',
  autoStart: true,
  provides: IInstructLabJobs,
  optional: [ITranslator, ILayoutRestorer, ICommandPalette, ISettingRegistry, ILabShell],
  activate: (
    app: JupyterFrontEnd,
    translator: ITranslator | null,
    restorer: ILayoutRestorer | null,
    palette: ICommandPalette | null,
    registry: ISettingRegistry | null,
    labShell: ILabShell | null
  ): IInstructLabJobs => {
    const trans = (translator ?? nullTranslator).load('ilab_jupyter');
    const settings = app.serviceManager.serverSettings;
    const jobs = new JobsModel(settings, new JobStream(settings));
    const catalog = new CatalogModel(settings, jobs);
    const tabs = new Tabs(app, jobs, catalog, trans, labShell ? 'main' : 'down');

    const meet = async (): Promise<void> => {
      panel.handshake = null;
      const met = await shakeHands(settings, trans);
      panel.handshake = met;
      if (met.kind === 'ready') {
        jobs.start();
        await catalog.refresh();
      }
    };
    const panel = new InstructLabPanel({
      jobs,
      catalog,
      commands: app.commands,
      trans,
      retry: () => void meet()
    });
    app.shell.add(panel, 'left', { rank: 620, type: 'InstructLab' });

    const openPanel = (): void => app.shell.activateById(panel.id);
    addCommands({ app, jobs, catalog, trans, tabs, openPanel });
    if (palette) {
      const category = trans.__('InstructLab');
      for (const command of [
        CommandIDs.openPanel,
        CommandIDs.refresh,
        CommandIDs.openLog,
        CommandIDs.pauseQueue,
        CommandIDs.resumeQueue
      ]) {
        palette.addItem({ command, category });
      }
    }
    if (restorer) {
      restorer.add(panel, panel.id);
      tabs.restore(restorer);
    }

    let notify = true;
    jobs.ended.connect((_, job) => {
      if (notify) {
        tellEnd(job, id => tabs.openLog(id), trans);
      }
    });
    void registry?.load(plugin.id).then(loaded => {
      const read = (): void => {
        notify = loaded.get('notifications').composite === true;
        tabs.logLines = Number(loaded.get('logLines').composite);
      };
      loaded.changed.connect(read);
      read();
    });

    void app.restored.then(meet);
    return jobs;
  }
};

export default plugin;
