// Packages that ship ES modules or JSX only; everything else in node_modules runs as it is.
const MODULES = [
  '@jupyterlab',
  '@jupyter',
  '@microsoft',
  '@codemirror',
  'exenv-es6',
  'lib0',
  'nanoid',
  'y-',
  'yjs'
];

export default {
  testEnvironment: '<rootDir>/src/__tests__/support/environment.mjs',
  testMatch: ['<rootDir>/src/**/__tests__/**/*.spec.{ts,tsx}'],
  transform: {
    '\\.[jt]sx?$': [
      '@swc/jest',
      {
        jsc: {
          target: 'es2022',
          parser: { syntax: 'typescript', tsx: true },
          transform: { react: { runtime: 'classic' } }
        }
      }
    ]
  },
  transformIgnorePatterns: [`/node_modules/(?!(${MODULES.join('|')}))`],
  moduleNameMapper: { '\\.svg$': '<rootDir>/src/__tests__/support/image.cjs' },
  injectGlobals: false,
  // Generous, because the tests share a machine with training jobs; each waits for a condition.
  testTimeout: 30_000
};
