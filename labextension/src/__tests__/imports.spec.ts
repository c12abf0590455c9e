import { expect, test } from '@jest/globals';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';

const SRC = join(__dirname, '..');
// A folder imports only from itself and from those before it.
const LAYERS = ['api', 'tokens', 'models', 'components', 'views', 'plugins', 'index'];

const files = (readdirSync(SRC, { recursive: true }) as string[]).filter(
  name => /\.tsx?$/.test(name) && !name.startsWith('__tests__')
);
const modules = new Map(files.map(name => [name.replace(/\.tsx?$/, ''), name]));

function importsOf(module: string): string[] {
  const text = readFileSync(join(SRC, modules.get(module)!), 'utf8');
  return [...text.matchAll(/(?:from|import\() ?'(\.[^']*)'/g)].map(match =>
    relative(SRC, join(SRC, dirname(module), match[1]))
  );
}

const layerOf = (module: string): number => LAYERS.indexOf(module.split('/')[0]);

test('modules import only from their own layer and the layers below', () => {
  expect(modules.size).toBeGreaterThan(20);
  for (const module of modules.keys()) {
    expect([module, layerOf(module)]).not.toEqual([module, -1]);
    for (const imported of importsOf(module)) {
      expect([module, imported, modules.has(imported)]).toEqual([module, imported, true]);
      expect([module, imported, layerOf(imported) <= layerOf(module)]).toEqual([
        module,
        imported,
        true
      ]);
    }
  }
});

test('modules do not import each other in a cycle', () => {
  const finished = new Set<string>();
  const visit = (module: string, path: string[]): void => {
    expect([...path, module].filter(name => name === module)).toEqual([module]);
    if (!finished.has(module)) {
      importsOf(module).forEach(imported => visit(imported, [...path, module]));
      finished.add(module);
    }
  };
  [...modules.keys()].forEach(module => visit(module, []));
});
