// Resolved by the bundler; an import would put package.json outside of the compiler's root folder.
declare function require(path: '../../package.json'): { version: string };

/** The version of this panel, the same number as the Python package it was built for. */
export const VERSION: string = require('../../package.json').version;

/** True where both versions share major and minor numbers; patches of one half alone are fine. */
export function compatible(server: string, panel: string = VERSION): boolean {
  const series = (version: string): string => version.split('.').slice(0, 2).join('.');
  return series(server) === series(panel);
}
