/**
 * A kubeconfig as the hub takes it from a customer: an address, certificates and a token, all of them in the text. It starts
 * no program, reads no file and trusts nobody blindly, so what asks for that is refused by name. Pure. Never quotes a value:
 * any of them may be a secret.
 */
import { PAUSE, readYaml } from '../../api/yaml-document.ts';
import { HubError } from '../errors.ts';

/** Where an API server is and how to prove oneself to it. */
export interface KubeAccess {
  /** `https://...`, without a slash at its end. */
  readonly server: string;
  /** Certificates that the server's is checked with, in base64; the system's when absent. */
  readonly caData?: string;
  readonly tlsServerName?: string;
  readonly proxyUrl?: string;
  readonly certData?: string;
  readonly keyData?: string;
  readonly token?: string;
}

/** Largest kubeconfig that is read, in characters. */
const KUBECONFIG_MAX = 262_144;

const CLUSTER_FIELDS: ReadonlySet<string> = new Set([
  ...['server', 'certificate-authority-data', 'tls-server-name', 'proxy-url'],
  ...['disable-compression', 'extensions'],
]);
const USER_FIELDS: ReadonlySet<string> = new Set([
  ...['client-certificate-data', 'client-key-data', 'token', 'extensions'],
]);
/** Why a field that kubectl knows is not taken. */
const REASONS: ReadonlyMap<string, string> = new Map([
  ['insecure-skip-tls-verify', 'the server must prove who it is'],
  ['certificate-authority', 'files are not read; use certificate-authority-data'],
  ['client-certificate', 'files are not read; use client-certificate-data'],
  ['client-key', 'files are not read; use client-key-data'],
  ['tokenFile', 'files are not read; use token'],
  ['exec', 'no program is started; use token or client-certificate-data'],
  ['auth-provider', 'no program is started; use token or client-certificate-data'],
]);

type Fields = ReadonlyMap<string, unknown>;

function refuse(message: string): HubError {
  return new HubError('HUB_KUBECONFIG', `kubeconfig: ${message}`);
}

function fieldsOf(value: unknown, path: string): Fields {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    return new Map(Object.entries(value));
  }
  throw refuse(`${path} is no object`);
}

/** Text of an optional field; an empty one counts as absent, as for kubectl. */
function textOf(fields: Fields, name: string, path: string): string | undefined {
  const value = fields.get(name);
  if (value === undefined || value === null || value === '') return undefined;
  if (typeof value !== 'string') throw refuse(`${path}.${name} is no text`);
  return value;
}

/** The entry called `wanted` in one of the lists of a kubeconfig. */
function entryOf(config: Fields, list: string, wanted: string, body: string): Fields {
  const entries = config.get(list);
  const all: readonly unknown[] = Array.isArray(entries) ? entries : [];
  for (const entry of all) {
    const fields = fieldsOf(entry, `an entry of ${list}`);
    if (fields.get('name') === wanted) return fieldsOf(fields.get(body), `${list}: ${body}`);
  }
  throw refuse(`${list} has no entry for the current context`);
}

function checkFields(fields: Fields, known: ReadonlySet<string>, path: string): void {
  for (const [name, value] of fields) {
    if (known.has(name) || value === null || value === false || value === '') continue;
    const shown = name.slice(0, 64);
    throw refuse(
      `${path}.${shown} is not accepted: ${REASONS.get(name) ?? 'it is not known here'}`,
    );
  }
}

function decodeConfig(text: string): Fields {
  if (text.length > KUBECONFIG_MAX) {
    throw refuse(`${text.length} characters; accepted: at most ${KUBECONFIG_MAX}`);
  }
  const documents = [...readYaml(text)].filter((step) => step !== PAUSE);
  const [first, second] = documents;
  const fault = documents.flatMap(({ problems }) => problems).at(0);
  if (fault !== undefined) throw refuse(`line ${fault.line ?? 1} cannot be read as YAML`);
  if (first === undefined || second !== undefined) throw refuse('not one YAML document');
  return fieldsOf(first.value, 'the document');
}

/**
 * Reads the current context of a kubeconfig.
 * @throws HubError HUB_KUBECONFIG, which names the field and never its value.
 */
export function readKubeconfig(text: string): KubeAccess {
  const config = decodeConfig(text);
  const context = textOf(config, 'current-context', 'the document');
  if (context === undefined) throw refuse('current-context is missing');
  const current = entryOf(config, 'contexts', context, 'context');
  const cluster = entryOf(
    config,
    'clusters',
    textOf(current, 'cluster', 'context') ?? '',
    'cluster',
  );
  const user = entryOf(config, 'users', textOf(current, 'user', 'context') ?? '', 'user');
  checkFields(cluster, CLUSTER_FIELDS, 'cluster');
  checkFields(user, USER_FIELDS, 'user');
  const server = textOf(cluster, 'server', 'cluster') ?? '';
  if (!URL.canParse(server) || new URL(server).protocol !== 'https:') {
    throw refuse('cluster.server is not accepted; accepted: a URL that begins with https://');
  }
  const proxyUrl = textOf(cluster, 'proxy-url', 'cluster');
  if (proxyUrl !== undefined && !URL.canParse(proxyUrl)) {
    throw refuse('cluster.proxy-url is not accepted; accepted: a URL');
  }
  const optional = {
    caData: textOf(cluster, 'certificate-authority-data', 'cluster'),
    tlsServerName: textOf(cluster, 'tls-server-name', 'cluster'),
    proxyUrl,
    certData: textOf(user, 'client-certificate-data', 'user'),
    keyData: textOf(user, 'client-key-data', 'user'),
    token: textOf(user, 'token', 'user'),
  };
  if ((optional.certData === undefined) !== (optional.keyData === undefined)) {
    throw refuse('user needs client-certificate-data and client-key-data, both of them');
  }
  const given = Object.entries(optional).filter(([, value]) => value !== undefined);
  return { server: server.replace(/\/+$/, ''), ...Object.fromEntries(given) };
}
