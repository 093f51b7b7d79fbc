#!/usr/bin/env node
/**
 * dpu-spoke: flags, environment, signals. What it does is in spoke.ts.
 */
import { readFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { Command, InvalidArgumentError, Option } from 'commander';
import { errorMessage, toError } from '../../base/error.ts';
import { VERSION } from '../../base/version.ts';
import { serveHealth } from '../health-server.ts';
import { LOG_LEVELS, type LogLevel, makeLogger } from '../log.ts';
import { spokeMetrics } from './spoke-metrics.ts';
import { Spoke } from './spoke.ts';

/** Where a pod reads its own namespace. */
const NAMESPACE_FILE = '/var/run/secrets/kubernetes.io/serviceaccount/namespace';

interface Flags {
  readonly kubeconfig?: string;
  readonly apiServer?: string;
  readonly namespace?: string;
  readonly name: string;
  readonly identity: string;
  readonly leaseSeconds: number;
  readonly listen: string;
  readonly logLevel: LogLevel;
}

function wholeSeconds(text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= 3 && value <= 3600) return value;
  throw new InvalidArgumentError('accepted: whole seconds from 3 to 3600.');
}

function listenAddress(text: string): string {
  if (text === 'off' || /^[0-9A-Za-z.:[\]-]*:\d{1,5}$/.test(text)) return text;
  throw new InvalidArgumentError('accepted: off, or an address and a port such as 0.0.0.0:9402.');
}

async function run(flags: Flags): Promise<void> {
  const { kubeconfig, apiServer, name, identity, leaseSeconds, listen, logLevel } = flags;
  const logger = makeLogger(logLevel, 'dpu-spoke');
  const namespace =
    flags.namespace ?? (await readFile(NAMESPACE_FILE, 'utf8').catch(() => 'dpu-system')).trim();
  const spoke = new Spoke({
    target: {
      ...(kubeconfig === undefined ? {} : { kubeconfig }),
      ...(apiServer === undefined ? {} : { apiServer }),
    },
    ...{ namespace, name, identity, logger, durationMs: leaseSeconds * 1000 },
  });
  const colon = listen.lastIndexOf(':');
  const host = listen.slice(0, colon).replace(/^\[|\]$/g, '');
  const server =
    listen === 'off'
      ? undefined
      : await serveHealth(host, Number(listen.slice(colon + 1)), {
          registry: spokeMetrics(spoke),
          notReady: () => spoke.notReady,
        });
  process.on('unhandledRejection', (reason) => {
    logger.error({ err: toError(reason) }, 'unhandled rejection');
    process.exitCode = 1;
  });
  const stop = (signal: string): void => {
    logger.info({ signal }, 'stopping');
    server?.close();
    void spoke.close().finally(() => process.exit());
  };
  process.once('SIGTERM', stop);
  process.once('SIGINT', stop);
  logger.info({ namespace, lease: name, identity, version: VERSION }, 'starting');
  spoke.start();
}

const { env } = process;
const command = new Command('dpu-spoke')
  .description('Resolves the DPUGroups of a cluster, and translates its NetworkPolicies.')
  .option('--kubeconfig <file>', "the cluster; default: the pod's service account")
  .option('--api-server <url>', "replaces the kubeconfig's server")
  .option('--namespace <name>', "namespace of the Lease; default: the pod's, or dpu-system")
  .option(
    '--name <name>',
    'name of the Lease, and the id on everything that is written',
    'dpu-spoke',
  )
  .option(
    '--identity <name>',
    'who this process is; another one for each',
    env['POD_NAME'] ?? `${hostname()}-${process.pid}`,
  )
  .option('--lease-seconds <number>', 'duration of the Lease', wholeSeconds, 15)
  .option(
    '--listen <address>',
    'where health and metrics are served, or off',
    listenAddress,
    '0.0.0.0:9402',
  )
  .addOption(
    new Option('--log-level <level>', 'what is logged').choices(LOG_LEVELS).default('info'),
  )
  .version(VERSION)
  .addHelpText(
    'after',
    `
Environment: POD_NAME is the default of --identity.
Signals:     SIGTERM gives the Lease back and ends; what was written stays.

Example:     dpu-spoke --kubeconfig customer.yaml --namespace dpu-system`,
  )
  .action(run);

try {
  await command.parseAsync();
} catch (error) {
  process.stderr.write(`dpu-spoke: ${errorMessage(error)}\n`);
  process.exit(1);
}
