/**
 * A customer's kubeconfig and a customer's API server that mean no good: what is refused, with which words, and that no
 * secret gets out.
 */
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { ServerResponse } from 'node:http';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { stringify } from 'yaml';
import { Customer } from '../../src/hub/apply/customer.ts';
import { KubeClient } from '../../src/hub/apply/kube-client.ts';
import { readKubeconfig } from '../../src/hub/apply/kubeconfig.ts';
import { differences, holds } from '../../src/hub/apply/object-diff.ts';
import { HubError } from '../../src/hub/errors.ts';
import { makeCertificates } from '../support/kube-programs.ts';

const CANARY = 'canary-7d1f';

function kubeconfig(cluster: object, user: object, extra: object = {}): string {
  return stringify({
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'c',
    contexts: [{ name: 'c', context: { cluster: 'k', user: 'u' } }],
    clusters: [{ name: 'k', cluster: { server: 'https://10.0.0.1:6443', ...cluster } }],
    users: [{ name: 'u', user }],
    ...extra,
  });
}

function thrownBy(work: () => unknown): unknown {
  try {
    work();
  } catch (error) {
    return error;
  }
  return undefined;
}

t.test(
  'a kubeconfig is taken when all of it stands in the text, else refused by field, never by value',
  (t) => {
    t.same(readKubeconfig(kubeconfig({ 'proxy-url': 'http://10.0.0.9:3128' }, { token: CANARY })), {
      server: 'https://10.0.0.1:6443',
      proxyUrl: 'http://10.0.0.9:3128',
      token: CANARY,
    });
    const token = { token: CANARY };
    const cases: [text: string, says: RegExp][] = [
      [
        kubeconfig({}, { ...token, exec: { command: CANARY } }),
        /user\.exec is not accepted: no program is started/,
      ],
      [kubeconfig({}, { 'auth-provider': { name: CANARY } }), /user\.auth-provider/],
      [
        kubeconfig({ 'insecure-skip-tls-verify': true }, token),
        /cluster\.insecure-skip-tls-verify is not accepted: the server must prove/,
      ],
      [
        kubeconfig({ 'certificate-authority': `/${CANARY}` }, token),
        /certificate-authority is not accepted: files are not read/,
      ],
      [
        kubeconfig({}, { 'client-key': `/${CANARY}`, 'client-certificate': '/x' }),
        /client-key is not accepted: files/,
      ],
      [kubeconfig({}, { tokenFile: `/${CANARY}` }), /tokenFile is not accepted: files/],
      [kubeconfig({}, { ...token, as: CANARY }), /user\.as is not accepted: it is not known here/],
      [
        kubeconfig({ server: `http://${CANARY}` }, token),
        /cluster\.server is not accepted; accepted: a URL that begins with https/,
      ],
      [kubeconfig({ server: [CANARY] }, token), /cluster\.server is no text/],
      [kubeconfig({ 'proxy-url': CANARY }, token), /cluster\.proxy-url/],
      [
        kubeconfig({}, { 'client-key-data': CANARY }),
        /needs client-certificate-data and client-key-data/,
      ],
      [
        kubeconfig({}, token, { users: [{ name: CANARY, user: token }] }),
        /users has no entry for the current context/,
      ],
      [kubeconfig({}, token, { contexts: CANARY }), /contexts has no entry/],
      [kubeconfig({}, token, { clusters: [CANARY] }), /an entry of clusters is no object/],
      [kubeconfig({}, token, { 'current-context': '' }), /current-context is missing/],
      [`${CANARY}: [`, /line 1 cannot be read as YAML/],
      [`- ${CANARY}`, /the document is no object/],
      ['', /not one YAML document/],
      [CANARY.repeat(30_000), /characters; accepted: at most 262144/],
    ];
    for (const [text, says] of cases) {
      const error = thrownBy(() => readKubeconfig(text));
      t.ok(error instanceof HubError, String(says));
      t.match(error, { code: 'HUB_KUBECONFIG', message: says });
      t.notMatch(JSON.stringify(error), new RegExp(CANARY), 'no value of it');
    }
    t.end();
  },
);

t.test('certificates that are none are refused without a word of them', async (t) => {
  const data = Buffer.from(CANARY).toString('base64');
  const access = readKubeconfig(
    kubeconfig({}, { 'client-certificate-data': data, 'client-key-data': data }),
  );
  const error: unknown = await KubeClient.create(access)
    .then((client) => new Customer(client).list('h'))
    .catch((thrown: unknown) => thrown);
  t.match(error, {
    code: 'HUB_KUBECONFIG',
    message: 'kubeconfig: certificate or key cannot be used',
  });
  t.notMatch(JSON.stringify(error), new RegExp(`${CANARY}|${data}`));
});

/** A server that proves who it is and then answers as the test likes. */
async function hostile(t: Test, answer: (response: ServerResponse) => void): Promise<Customer> {
  const dir = await mkdtemp(join(tmpdir(), 'hub-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  const { ca } = await makeCertificates(dir);
  const cert = await readFile(join(dir, 'server.crt'));
  const key = await readFile(join(dir, 'server.key'));
  const server = createServer({ cert, key }, (_, response) => answer(response));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const caData = Buffer.from(ca).toString('base64');
  const text = kubeconfig(
    { server: `https://127.0.0.1:${port}`, 'certificate-authority-data': caData },
    { token: CANARY },
  );
  const client = await KubeClient.create(readKubeconfig(text), { timeoutMs: 1000 });
  t.after(() => {
    client.close();
    server.closeAllConnections();
    server.close();
  });
  return new Customer(client);
}

t.test('whatever a server answers becomes an error with a code, in time', async (t) => {
  const cases: [name: string, code: string, answer: (response: ServerResponse) => void][] = [
    ['garbage', 'HUB_BAD_ANSWER', (response) => response.end('\u0000<html>')],
    [
      'another object',
      'HUB_BAD_ANSWER',
      (response) => response.end('{"metadata":{},"items":[{"metadata":{"name":7}}]}'),
    ],
    ['a list', 'HUB_BAD_ANSWER', (response) => response.end('[]')],
    ['403 with nothing', 'HUB_REFUSED', (response) => response.writeHead(403).end('{}')],
    [
      '403 with words',
      'HUB_REFUSED',
      (response) => response.writeHead(403).end('{"kind":"Status","message":"no"}'),
    ],
    ['nothing', 'HUB_TIMEOUT', () => undefined],
    [
      'a drip',
      'HUB_TIMEOUT',
      (response) => void setInterval(() => response.write(' '), 50).unref(),
    ],
    [
      'an end in the middle',
      'HUB_UNREACHABLE',
      (response) => {
        response.write('{');
        setTimeout(() => response.destroy(), 20);
      },
    ],
  ];
  for (const [name, code, answer] of cases) {
    const customer = await hostile(t, answer);
    const error: unknown = await customer.list('h').catch((thrown: unknown) => thrown);
    t.match(error, { code }, name);
    t.notMatch(JSON.stringify(error), new RegExp(CANARY));
  }
});

t.test('an object holds what is wanted when nothing of it differs; differences have paths', (t) => {
  const value = fc.jsonValue({ maxDepth: 4 });
  fc.assert(fc.property(value, (one) => holds(structuredClone(one), one)));
  fc.assert(
    fc.property(value, value, (one, other) => {
      const same = JSON.stringify(one) === JSON.stringify(other);
      return !same || differences(one, other).length === 0;
    }),
  );
  t.ok(holds({ a: 1, b: { c: [1], d: 2 } }, { b: { c: [1] } }), 'what else it has does not matter');
  t.notOk(holds({ a: [1, 2] }, { a: [1] }), 'a list is a whole');
  t.notOk(holds({}, { constructor: {} }), 'only own fields count');
  t.same(differences({ a: [1, { b: 2 }], c: 1 }, { a: [1, { b: 3 }], d: 1 }), ['a[1].b', 'c', 'd']);
  t.end();
});
