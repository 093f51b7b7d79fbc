/**
 * The custom resources of one customer as the hub reads and writes them: list, get, server-side apply, delete. It knows the
 * kinds and their paths; what to write and what to leave is apply-set.ts's to decide.
 */
import { z } from 'zod';
import { API_VERSION, HUB_LABEL } from '../../api/labels.ts';
import { HubError } from '../errors.ts';
import type { DpuGroupManifest, DpuRuleManifest } from '../translate/manifest.ts';
import type { KubeAnswer, KubeClient } from './kube-client.ts';

/** Field manager of everything that the hub writes. */
const HUB_MANAGER = 'dpu-hub';

/** What the hub writes. */
export type HubObject = DpuRuleManifest | DpuGroupManifest;

/** Kinds that the hub writes, in the order in which they are applied: what is referred to comes first. */
export const HUB_KINDS = ['DPUGroup', 'DPURule'] as const;
/** One of {@link HUB_KINDS}. */
export type HubKind = (typeof HUB_KINDS)[number];

const PLURALS: Readonly<Record<HubKind, string>> = { DPUGroup: 'dpugroups', DPURule: 'dpurules' };
const PAGE = 500;
/** Pages of one list; a server that never ends its list is not followed for ever. */
const PAGES_MAX = 1000;
const TEXT_MAX = 500;

/** What an object is called. */
export interface ObjectName {
  readonly kind: HubKind;
  readonly namespace: string;
  readonly name: string;
}

const storedSchema = z.object({
  metadata: z.object({
    name: z.string(),
    namespace: z.string(),
    uid: z.string(),
    // Missing in the answer to a dry run that would create.
    resourceVersion: z.string().default(''),
    labels: z.record(z.string(), z.string()).default({}),
    annotations: z.record(z.string(), z.string()).default({}),
  }),
  spec: z.unknown(),
});
const listSchema = z.object({
  metadata: z.object({ continue: z.string().optional() }),
  items: z.array(storedSchema),
});
const statusSchema = z.object({
  message: z.string().default(''),
  details: z
    .object({
      causes: z
        .array(z.object({ message: z.string().default(''), field: z.string().default('') }))
        .default([]),
    })
    .optional(),
});

/** An object as the server has it. */
export type StoredObject = z.output<typeof storedSchema> & { readonly kind: HubKind };

/** Who else has a say in which fields. */
export interface FieldConflict {
  /** What the server says of the other manager. */
  readonly manager: string;
  readonly fields: readonly string[];
}

/** What became of an apply: the object, or the others that own its fields. */
export type Applied =
  { readonly object: StoredObject } | { readonly conflicts: readonly FieldConflict[] };

/** One customer. */
export class Customer {
  readonly #client: Pick<KubeClient, 'send'>;
  readonly #fieldManager: string;

  constructor(client: Pick<KubeClient, 'send'>, fieldManager = HUB_MANAGER) {
    this.#client = client;
    this.#fieldManager = fieldManager;
  }

  /**
   * Everything that a hub has written here.
   * @throws HubError
   */
  async list(hubId: string): Promise<StoredObject[]> {
    const found: StoredObject[] = [];
    for (const kind of HUB_KINDS) {
      const path = `/apis/${API_VERSION}/${PLURALS[kind]}`;
      let next: string | undefined = '';
      for (let page = 0; next !== undefined; page++) {
        if (page >= PAGES_MAX)
          throw new HubError('HUB_BAD_ANSWER', `the list of ${kind} has no end`);
        const query = { labelSelector: `${HUB_LABEL}=${hubId}`, limit: String(PAGE) };
        const answer = await this.#client.send('GET', path, {
          ...query,
          ...(next === '' ? {} : { continue: next }),
        });
        const { items, metadata } = read(listSchema, expectOk(answer, path), path);
        for (const item of items) found.push({ ...item, kind });
        next = metadata.continue === '' ? undefined : metadata.continue;
      }
    }
    return found;
  }

  /**
   * One object; undefined when there is none.
   * @throws HubError
   */
  async get(name: ObjectName): Promise<StoredObject | undefined> {
    const path = pathOf(name);
    const answer = await this.#client.send('GET', path);
    if (answer.status === 404) return undefined;
    return { ...read(storedSchema, expectOk(answer, path), path), kind: name.kind };
  }

  /**
   * Server-side apply. `force` takes the fields from whoever has them.
   * @throws HubError, HUB_CONFLICT when the object is another one than `resourceVersion` by now.
   */
  async apply(
    manifest: HubObject,
    how: { readonly force: boolean; readonly dryRun: boolean; readonly resourceVersion?: string },
  ): Promise<Applied> {
    const path = pathOf({ kind: manifest.kind, ...manifest.metadata });
    const query = {
      ...{ fieldManager: this.#fieldManager, fieldValidation: 'Strict', force: String(how.force) },
      ...(how.dryRun ? { dryRun: 'All' } : {}),
    };
    const { resourceVersion } = how;
    const metadata = {
      ...manifest.metadata,
      ...(resourceVersion === undefined ? {} : { resourceVersion }),
    };
    const answer = await this.#client.send('PATCH', path, query, {
      type: 'application/apply-patch+yaml',
      value: { ...manifest, metadata },
    });
    if (answer.status === 409) {
      const conflicts = conflictsOf(answer);
      if (conflicts.length > 0) return { conflicts };
    }
    return { object: { ...read(storedSchema, expectOk(answer, path), path), kind: manifest.kind } };
  }

  /**
   * Deletes an object if it is still the one that was seen; one that is gone already is no fault.
   * @throws HubError
   */
  async delete({ kind, metadata }: StoredObject): Promise<void> {
    const path = pathOf({ kind, ...metadata });
    const { uid, resourceVersion } = metadata;
    const value = {
      apiVersion: 'v1',
      kind: 'DeleteOptions',
      preconditions: { uid, resourceVersion },
    };
    const answer = await this.#client.send('DELETE', path, {}, { type: 'application/json', value });
    if (answer.status !== 404) expectOk(answer, path);
  }
}

/** An object of a list or a watch; undefined when it is none. */
export function storedObject(value: unknown, kind: HubKind): StoredObject | undefined {
  const { data } = storedSchema.safeParse(value);
  return data === undefined ? undefined : { ...data, kind };
}

function pathOf({ kind, namespace, name }: ObjectName): string {
  return `/apis/${API_VERSION}/namespaces/${encodeURIComponent(namespace)}/${PLURALS[kind]}/${encodeURIComponent(name)}`;
}

function expectOk({ status, body }: KubeAnswer, path: string): unknown {
  if (status >= 200 && status < 300) return body;
  const said = statusSchema.safeParse(body);
  const message = said.success ? said.data.message.slice(0, TEXT_MAX) : '';
  const code = status === 409 ? 'HUB_CONFLICT' : 'HUB_REFUSED';
  throw new HubError(code, `the API server refuses with ${status}: ${message}`, {
    url: path,
    status,
  });
}

function read<Schema extends z.ZodType>(
  schema: Schema,
  body: unknown,
  path: string,
): z.output<Schema> {
  const parsed = schema.safeParse(body);
  if (parsed.success) return parsed.data;
  const field = parsed.error.issues[0]?.path.join('.') ?? '';
  const message = `the API server's answer is no object of ours: ${field.slice(0, TEXT_MAX)}`;
  throw new HubError('HUB_BAD_ANSWER', message, { url: path });
}

function conflictsOf({ body }: KubeAnswer): FieldConflict[] {
  const said = statusSchema.safeParse(body);
  const causes = said.success ? (said.data.details?.causes ?? []) : [];
  const byManager = Map.groupBy(causes, ({ message }) => message.slice(0, TEXT_MAX));
  return [...byManager].map(([manager, list]) => ({
    manager,
    fields: list.map(({ field }) => field),
  }));
}
