import { afterEach, beforeEach, expect, test } from '@jest/globals';

import { CatalogModel } from '../models/catalog';
import type { Job } from '../api/contract';
import { JobsModel } from '../models/jobs';
import { JobStream } from '../api/stream';
import { makeJob, makePage, OPEN_QUEUE } from './support/jobs';
import { Reply, ScriptedServer } from './support/server';
import { pause, until } from './support/wait';

let server: ScriptedServer;
let jobs: JobsModel;
let catalog: CatalogModel;

beforeEach(async () => {
  server = await ScriptedServer.start();
  server.on('jobs', () => makePage([]));
  server.on('queue', () => OPEN_QUEUE);
  server.on('models', () => ({ models: [{ name: 'starter' }] }));
  server.on('datasets', () => ({ datasets: [{ name: 'orchard' }] }));
  server.on('deployments', () => ({ deployments: [] }));
  jobs = new JobsModel(server.settings, new JobStream(server.settings));
  catalog = new CatalogModel(server.settings, jobs);
});

afterEach(async () => {
  catalog.dispose();
  jobs.dispose();
  await server.stop();
});

/** How often all three lists were requested. */
function refreshes(): number {
  return server.requestsFor('deployments').length;
}

async function stream(...changed: Job[]): Promise<void> {
  const handled = new Promise<void>(resolve => jobs.stream.jobsChanged.connect(() => resolve()));
  server.send({ type: 'jobs', jobs: changed });
  await handled;
}

async function start(): Promise<void> {
  jobs.start();
  await until(() => jobs.loaded && server.messages.length > 0);
}

test('a refresh loads models, datasets and deployments', async () => {
  expect(catalog.loaded).toBe(false);
  await catalog.refresh();
  expect(catalog.models.map(model => model.name)).toEqual(['starter']);
  expect(catalog.datasets.map(dataset => dataset.name)).toEqual(['orchard']);
  expect(catalog.deployments).toEqual([]);
  expect(catalog.loaded).toBe(true);
});

test('a failed refresh keeps the lists and its error until one succeeds', async () => {
  await catalog.refresh();
  const body = { message: 'The disk is slow.', hint: 'Wait.' };
  server.on('datasets', () => new Reply(503, body));
  await catalog.refresh();
  expect(catalog.error).toBe('The disk is slow. Wait.');
  expect(catalog.models).toHaveLength(1);
  server.on('datasets', () => ({ datasets: [] }));
  await catalog.refresh();
  expect(catalog.error).toBe('');
  expect(catalog.datasets).toEqual([]);
});

test('a job that ends causes one refresh, however many end together', async () => {
  await start();
  await stream(makeJob('a', 'RUNNING'), makeJob('b', 'RUNNING'));
  await stream(makeJob('a', 'SUCCEEDED', { version: 2 }), makeJob('b', 'FAILED', { version: 2 }));
  await until(() => catalog.loaded);
  await pause(600);
  expect(refreshes()).toBe(1);
});

test('a serve job that starts causes a refresh, a training does not', async () => {
  await start();
  await stream(makeJob('a', 'RUNNING'));
  await pause(600);
  expect(refreshes()).toBe(0);
  await stream(makeJob('b', 'STARTING', { kind: 'serve' }));
  await until(() => refreshes() === 1);
});

test('a deployment is requested again until it is ready', async () => {
  const deployment = { id: 's', model: 'starter', ready: false };
  server.on('deployments', () => ({ deployments: [deployment] }));
  await catalog.refresh();
  deployment.ready = true;
  await until(() => catalog.deployments[0].ready);
  expect(refreshes()).toBe(2);
  await pause(2200);
  expect(refreshes()).toBe(2);
});

test('serve and stop send their requests and load the lists again', async () => {
  server.on('deployments', ({ method }) => (method === 'POST' ? {} : { deployments: [] }));
  server.on('deployments/serve%2F1', () => ({}));
  await catalog.serve('starter');
  expect(server.requestsFor('deployments')[0]).toMatchObject({
    method: 'POST',
    body: { model: 'starter' }
  });
  expect(server.requestsFor('jobs')).toHaveLength(1);
  await catalog.stop('serve/1');
  expect(server.requestsFor('deployments/serve%2F1')[0].method).toBe('DELETE');
  expect(server.requestsFor('models')).toHaveLength(2);
});

test('rows are requested by file, offset and limit', async () => {
  server.on('datasets/my%20set/rows', () => ({ rows: [], total: 45 }));
  expect(await catalog.rows('my set', 'a&b.jsonl', 20, 10)).toEqual({ rows: [], total: 45 });
  const [{ query }] = server.requestsFor('datasets/my%20set/rows');
  expect([query.get('file'), query.get('offset'), query.get('limit')]).toEqual([
    'a&b.jsonl',
    '20',
    '10'
  ]);
});
