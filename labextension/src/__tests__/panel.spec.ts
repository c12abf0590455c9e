import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { nullTranslator } from '@jupyterlab/translation';
import { CommandRegistry } from '@lumino/commands';
import { Widget } from '@lumino/widgets';

import { CatalogModel } from '../models/catalog';
import { CommandIDs } from '../tokens';
import type { Job } from '../api/contract';
import { JobsModel } from '../models/jobs';
import { InstructLabPanel } from '../views/panel';
import { JobStream } from '../api/stream';
import { makeJob, makePage, OPEN_QUEUE } from './support/jobs';
import { ScriptedServer } from './support/server';
import { until } from './support/wait';

const trans = nullTranslator.load('ilab_jupyter');
let server: ScriptedServer;
let jobs: JobsModel;
let catalog: CatalogModel;
let panel: InstructLabPanel;
let retries: number;
/** Commands that the panel executed, with their arguments. */
let executed: [string, unknown][];

beforeEach(async () => {
  server = await ScriptedServer.start();
  server.on('jobs', () => makePage([]));
  server.on('queue', () => OPEN_QUEUE);
  jobs = new JobsModel(server.settings, new JobStream(server.settings));
  catalog = new CatalogModel(server.settings, jobs);
  executed = [];
  const commands = new CommandRegistry();
  for (const id of Object.values(CommandIDs)) {
    commands.addCommand(id, { execute: args => executed.push([id, args]) });
  }
  retries = 0;
  const retry = (): void => void (retries += 1);
  panel = new InstructLabPanel({ jobs, catalog, commands, trans, retry });
  Widget.attach(panel, document.body);
});

afterEach(async () => {
  panel.dispose();
  catalog.dispose();
  jobs.dispose();
  await server.stop();
});

function text(): string {
  return panel.node.textContent ?? '';
}

function button(label: string): HTMLButtonElement | undefined {
  return [...panel.node.querySelectorAll('button')].find(
    node => (node.getAttribute('aria-label') ?? node.textContent) === label
  );
}

function cards(): (string | null)[] {
  return [...panel.node.querySelectorAll('[data-job]')].map(node => node.getAttribute('data-job'));
}

/** Show the sections, with these jobs loaded. */
async function show(...list: Job[]): Promise<void> {
  if (list.length > 0) {
    server.on('jobs', () => makePage(list));
  }
  panel.handshake = { kind: 'ready', version: '0.1.0', warning: '' };
  await jobs.refresh();
  await until(() => cards().length === list.length);
}

describe('the handshake', () => {
  test('shows the commands to run where the extension is missing', async () => {
    panel.handshake = { kind: 'missing', message: 'Not installed.', command: 'pip install' };
    await until(() => text().includes('pip install'));
    expect(panel.node.querySelector('[role="alert"]')?.textContent).toContain('Not installed.');
    expect(panel.node.querySelectorAll('button')).toHaveLength(1);
    button('Try again')?.click();
    expect(retries).toBe(1);
  });

  test('shows a warning above the sections where versions differ', async () => {
    panel.handshake = { kind: 'ready', version: '9.0.0', warning: 'Versions differ.' };
    await until(() => text().includes('Versions differ.'));
    expect(text()).toContain('Served models');
  });
});

describe('the job list', () => {
  test('names the first command where it is empty', async () => {
    await show();
    await until(() => text().includes('%ilab demo'));
    expect(panel.node.querySelector('[role="search"]')).toBeNull();
  });

  test('shows a failure with reason, next step and command', async () => {
    const ended = {
      message: 'No weights.',
      hint: 'Choose another.',
      remedy: 'resume train-1'
    };
    await show(makeJob('train-1', 'FAILED', { name: 'doomed', ...ended }));
    expect(text()).toContain('No weights. Choose another.');
    expect(text()).toContain('%ilab resume train-1');
    expect(button('Cancel doomed')).toBeUndefined();
    expect(button('Resume doomed')).toBeUndefined();
    button('Open the log of doomed')?.click();
    expect(executed).toEqual([[CommandIDs.openLog, { id: 'train-1' }]]);
  });

  test('shows step, loss and time left of a running job', async () => {
    const progress = { phase: 'training', message: '', step: 5, total: 200, eta_seconds: 83 };
    await show(makeJob('a', 'RUNNING', { progress: { ...progress, metrics: { loss: 0.5 } } }));
    const bar = panel.node.querySelector('[role="progressbar"]');
    expect(bar?.getAttribute('aria-valuenow')).toBe('5');
    expect(bar?.getAttribute('aria-valuemax')).toBe('200');
    expect(text()).toContain('training · 5 of 200 · loss 0.500 · 1 min 23 s left');
  });

  test('has a button for the next page until all are loaded', async () => {
    const list = Array.from({ length: 53 }, (_, n) => makeJob(`run-${n}`, 'FAILED'));
    server.on('jobs', ({ query }) =>
      query.has('cursor') ? makePage(list.slice(50)) : makePage(list.slice(0, 50), 'older')
    );
    panel.handshake = { kind: 'ready', version: '0.1.0', warning: '' };
    await jobs.refresh();
    await until(() => cards().length === 50);
    button('Load more')?.click();
    await until(() => cards().length === 53);
    expect(button('Load more')).toBeUndefined();
  });

  test('says that no job matches a filter', async () => {
    await show(makeJob('a', 'FAILED', { name: 'orchard' }));
    const select = panel.node.querySelector('select') as HTMLSelectElement;
    select.value = 'succeeded';
    select.dispatchEvent(new Event('change', { bubbles: true }));
    await until(() => text().includes('No job matches.'));
    expect(cards()).toEqual([]);
    await until(() => server.requestsFor('jobs').length === 2);
    expect(server.requestsFor('jobs')[1].query.getAll('state')).toEqual(['SUCCEEDED']);
  });
});

test('a paused queue is shown with who paused it and why', async () => {
  const paused = { paused: true, paused_by: 'ada', paused_reason: 'the disk is replaced' };
  server.on('queue', () => ({ ...OPEN_QUEUE, ...paused }));
  await show();
  await until(() => text().includes('The queue is paused by ada: the disk is replaced'));
  expect(button('Pause the queue')).toBeUndefined();
  button('Resume the queue')?.click();
  expect(executed).toEqual([[CommandIDs.resumeQueue, {}]]);
});
