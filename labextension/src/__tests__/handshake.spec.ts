import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { nullTranslator } from '@jupyterlab/translation';

import { shakeHands } from '../api/handshake';
import { compatible, VERSION } from '../api/version';
import { NOT_FOUND, Reply, ScriptedServer } from './support/server';

const trans = nullTranslator.load('ilab_jupyter');
let server: ScriptedServer;

beforeEach(async () => {
  server = await ScriptedServer.start();
});

afterEach(async () => {
  await server.stop();
});

test('a server of the same version is ready without a warning', async () => {
  server.on('info', () => ({ name: 'ilab-jupyter', version: VERSION, api: 1 }));
  expect(await shakeHands(server.settings, trans)).toEqual({
    kind: 'ready',
    version: VERSION,
    warning: ''
  });
});

test('a server of another version is ready with a warning that names both', async () => {
  server.on('info', () => ({ name: 'ilab-jupyter', version: '99.1.0', api: 1 }));
  const met = await shakeHands(server.settings, trans);
  expect(met.kind).toBe('ready');
  expect(met).toMatchObject({ warning: expect.stringContaining(VERSION) });
  expect(met).toMatchObject({ warning: expect.stringContaining('99.1.0') });
});

test.each([
  ['0.1.0', '0.1.9', true],
  ['0.1.0', '0.2.0', false],
  ['1.1.0', '0.1.0', false]
])('versions %s and %s are compatible: %s', (panel, other, expected) => {
  expect(compatible(other, panel)).toBe(expected);
});

test('a server without the extension is missing, with the commands to run', async () => {
  server.on('info', () => NOT_FOUND);
  expect(await shakeHands(server.settings, trans)).toMatchObject({
    kind: 'missing',
    message: expect.stringContaining('does not have the InstructLab extension'),
    command: expect.stringContaining('jupyter server extension enable ilab_jupyter')
  });
});

test('a server that refuses has failed, with its message and next step', async () => {
  const body = { message: 'The token is wrong.', hint: 'Log in again.' };
  server.on('info', () => new Reply(403, body));
  expect(await shakeHands(server.settings, trans)).toEqual({
    kind: 'failed',
    message: 'The token is wrong. Log in again.'
  });
});

test('a server that does not answer has failed', async () => {
  await server.stop();
  expect(await shakeHands(server.settings, trans)).toEqual({
    kind: 'failed',
    message: 'The Jupyter server does not answer. Check that it is still running.'
  });
  await server.restart();
});
