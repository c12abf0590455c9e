import type { ServerConnection } from '@jupyterlab/services';
import type { TranslationBundle } from '@jupyterlab/translation';

import { ApiError, describeError, requestAPI } from './request';
import type { Info } from './contract';
import { compatible, VERSION } from './version';

/** What the panel learned of its other half when it started. */
export type Handshake =
  | { kind: 'ready'; version: string; warning: string }
  | { kind: 'missing'; message: string; command: string }
  | { kind: 'failed'; message: string };

/** Ask the server who it is; never throws. */
export async function shakeHands(
  settings: ServerConnection.ISettings,
  trans: TranslationBundle
): Promise<Handshake> {
  try {
    const info = await requestAPI<Info>(settings, 'info');
    return {
      kind: 'ready',
      version: info.version,
      warning: compatible(info.version)
        ? ''
        : trans.__(
            'This panel is version %1, the server has %2. Install one version for both, then restart JupyterLab and reload this page.',
            VERSION,
            info.version
          )
    };
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) {
      return {
        kind: 'missing',
        message: trans.__(
          'The Jupyter server does not have the InstructLab extension. In the environment that JupyterLab runs in, run this, then restart JupyterLab:'
        ),
        command: 'pip install ilab-jupyter\njupyter server extension enable ilab_jupyter'
      };
    }
    return { kind: 'failed', message: describeError(error) };
  }
}
