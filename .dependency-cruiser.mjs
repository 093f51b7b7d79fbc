// The walls between the layers (docs/architecture.md). `npm run check` fails on a breach, and when too few modules were seen.
const PROTOCOL = '^src/(ovsdb|openflow|netlink)/';
const forbid = (name, comment, from, to) => ({ name, severity: 'error', comment, from, to });

export default {
  forbidden: [
    forbid(
      'no-circular',
      'a cycle means that a wall is in the wrong place',
      {},
      { circular: true },
    ),
    forbid(
      'base-is-leaf',
      'everything builds on base',
      { path: '^src/base/' },
      { path: '^src/', pathNot: '^src/base/' },
    ),
    forbid(
      'api-above-base-only',
      'agent and hub share the API',
      { path: '^src/api/' },
      { path: '^src/', pathNot: '^src/(api|base)/' },
    ),
    forbid(
      'kube-above-base-and-api-only',
      'agent and hub follow an API server with the same code',
      { path: '^src/kube/' },
      { path: '^src/', pathNot: '^src/(kube|api|base)/' },
    ),
    forbid(
      'protocol-looks-down',
      'a protocol knows no policy',
      { path: PROTOCOL },
      { path: '^src/(agent|hub|kube|api|cli|plan)/' },
    ),
    forbid(
      'protocols-are-strangers',
      'each protocol is usable alone',
      { path: PROTOCOL },
      { path: PROTOCOL, pathNot: '^src/$1/' },
    ),
    forbid(
      'protocol-no-platform',
      'a library does not log or count for its user',
      { path: PROTOCOL },
      { path: 'node_modules/(pino|prom-client|@kubernetes)' },
    ),
    forbid(
      'codec-does-no-io',
      'bytes in, values out',
      { path: PROTOCOL, pathNot: '/(connection|vconn|socket|client|session|unixctl)[.]ts$' },
      { dependencyTypes: ['core'], pathNot: '^(node:)?(buffer|events)$' },
    ),
    forbid(
      'leaf-does-no-io',
      'base and api are pure',
      { path: '^src/(base|api)/' },
      { dependencyTypes: ['core'], pathNot: '^(node:)?(buffer|events|crypto)$' },
    ),
    forbid(
      'node-netlink-only-in-socket',
      'one place for its known faults',
      { path: '^src/', pathNot: '^src/netlink/socket[.]ts$' },
      { path: 'node_modules/node-netlink' },
    ),
    forbid(
      'flow-is-pure',
      'the compiler is a function',
      { path: '^src/(agent/flow|plan)/' },
      { path: '^src/(openflow/(vconn|client|session|index)|ovsdb|netlink|kube|agent/(?!flow/))' },
    ),
    forbid(
      'flow-does-no-io',
      'the compiler is a function',
      { path: '^src/(agent/flow|plan)/' },
      { dependencyTypes: ['core'], pathNot: '^(node:)?(buffer|crypto)$' },
    ),
    forbid(
      'cli-is-a-client',
      'dpuctl talks HTTP to the debug socket',
      { path: '^src/cli/' },
      { path: '^src/(agent|hub|kube|ovsdb|openflow|netlink)/' },
    ),
    forbid(
      'hub-has-no-data-plane',
      'the hub writes custom resources only',
      { path: '^src/hub/' },
      { path: '^src/', pathNot: '^src/(hub|kube|api|base)/' },
    ),
    forbid(
      'translation-is-pure',
      'a NetworkPolicy means the same on the hub and on a spoke',
      { path: '^src/hub/(translate/|spoke/(resolve|pod-view))' },
      { path: '^src/(hub|kube)/', pathNot: '^src/hub/(translate/|spoke/(resolve|pod-view))' },
    ),
    forbid(
      'translation-does-no-io',
      'a NetworkPolicy means the same on the hub and on a spoke',
      { path: '^src/hub/(translate/|spoke/(resolve|pod-view))' },
      { dependencyTypes: ['core'], pathNot: '^(node:)?crypto$' },
    ),
    forbid(
      'no-process',
      'the product speaks the protocols itself',
      { path: '^src/' },
      { path: '^(node:)?child_process$' },
    ),
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'default'],
    },
  },
};
