/**
 * Who the API server is and how to prove oneself to it: a kubeconfig or the pod's service account, through
 * `@kubernetes/client-node`. The package is imported when it is needed first: it costs 86 MiB that an agent on a directory
 * does not pay. Makes no request.
 */
import type { KubeConfig } from '@kubernetes/client-node';
import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { parse } from 'yaml';
import { errorMessage } from '../base/error.ts';
import { KubeError } from './error.ts';

/** Which API server, and as whom. */
export interface KubeTarget {
  /** Path of a kubeconfig; the pod's service account when absent. */
  readonly kubeconfig?: string;
  /** URL that replaces the server of the kubeconfig. */
  readonly apiServer?: string;
  /** Address of this machine from which connections leave. */
  readonly localAddress?: string;
}

/** The part of a kubeconfig that client-node does not read: it knows `token-file` only, kubectl `tokenFile`. */
interface UserEntries {
  readonly users?: readonly {
    readonly name?: unknown;
    readonly user?: { readonly tokenFile?: unknown };
  }[];
}

function useTokenFile(config: KubeConfig, text: string, root: string): void {
  const name = config.getCurrentUser()?.name;
  const entries = parse(text) as UserEntries;
  const tokenFile = entries.users?.find((entry) => entry.name === name)?.user?.tokenFile;
  if (typeof tokenFile !== 'string') return;
  const authProvider = { name: 'tokenFile', config: { tokenFile: resolve(root, tokenFile) } };
  config.users = config.users.map((user) =>
    // As kubectl does: the file wins over a token beside it.
    user.name === name ? { name, authProvider } : user,
  );
}

/**
 * Reads the configuration, new each time.
 * @throws KubeError SOURCE_KUBE_CONFIG when it cannot be used.
 */
export async function loadKubeConfig({ kubeconfig, apiServer }: KubeTarget): Promise<KubeConfig> {
  const { KubeConfig } = await import('@kubernetes/client-node');
  const config = new KubeConfig();
  const where = kubeconfig ?? 'service account of the pod';
  try {
    if (kubeconfig === undefined) config.loadFromCluster();
    else {
      const text = await readFile(kubeconfig, 'utf8');
      config.loadFromString(text);
      config.makePathsAbsolute(dirname(kubeconfig));
      useTokenFile(config, text, dirname(kubeconfig));
    }
  } catch (error) {
    const message = `${where} cannot be read: ${errorMessage(error)}`;
    throw new KubeError('SOURCE_KUBE_CONFIG', message, { cause: error });
  }
  const current = config.getCurrentContext();
  const cluster = config.getContextObject(current)?.cluster;
  config.clusters = config.clusters.map((entry) => ({
    ...entry,
    server: (entry.name === cluster ? apiServer : undefined) ?? entry.server,
  }));
  const server = config.getCurrentCluster()?.server ?? '';
  if (!URL.canParse(server)) {
    const message = `${where} names no API server (current-context "${current}", server "${server}"); accepted: a URL such as https://10.100.2.10:6443`;
    throw new KubeError('SOURCE_KUBE_CONFIG', message);
  }
  return config;
}
