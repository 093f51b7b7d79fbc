/**
 * What a spoke writes into its cluster beside DPURules and DPUGroups: DPUGroupSlices, the status of DPUGroups, Events of
 * policies. One request for each; every one of them asks first whether we lead.
 */
import { createHash } from 'node:crypto';
import { API_VERSION, SPOKE_LABEL } from '../../api/labels.ts';
import type { DpuGroupSlice } from '../../api/dpu-group-slice.ts';
import type { KubeAnswer, KubeClient } from '../apply/kube-client.ts';
import { HubError } from '../errors.ts';
import { fence, type Leader } from '../leader.ts';
import type { RefusedPolicy } from './cluster-policies.ts';
import type { GroupView, SliceView } from './cluster.ts';

/** Field manager of everything that a spoke writes. */
export const SPOKE_MANAGER = 'dpu-spoke';
const MESSAGE_MAX = 1000;
const APPLY = 'application/apply-patch+yaml';
const MERGE = 'application/merge-patch+json';

/** See the head of the file. */
export class SpokeWriter {
  readonly #client: Pick<KubeClient, 'send'>;
  readonly #leader: Pick<Leader, 'valid'>;
  readonly #id: string;

  constructor(client: Pick<KubeClient, 'send'>, leader: Pick<Leader, 'valid'>, id: string) {
    this.#client = client;
    this.#leader = leader;
    this.#id = id;
  }

  /**
   * Writes a slice of a group; the result is the object as it is now.
   * @throws HubError, HUB_CONFLICT when the slice is another one than `known` by now.
   */
  async putSlice(
    slice: DpuGroupSlice,
    owner: GroupView,
    known: SliceView | undefined,
  ): Promise<unknown> {
    const { name, namespace, labels } = slice.metadata;
    const { uid } = owner.stored.metadata;
    const { kind } = owner.stored;
    const metadata = {
      name,
      namespace,
      labels: { ...labels, [SPOKE_LABEL]: this.#id },
      ownerReferences: [{ apiVersion: API_VERSION, kind, name: owner.stored.metadata.name, uid }],
      ...(known === undefined ? {} : { resourceVersion: known.resourceVersion }),
    };
    const path = slicePath(namespace, name);
    const query = {
      ...{ fieldManager: SPOKE_MANAGER, fieldValidation: 'Strict' },
      force: String(known !== undefined),
    };
    return this.#send('PATCH', path, query, { type: APPLY, value: { ...slice, metadata } });
  }

  /**
   * Deletes a slice if it is still the one that was seen.
   * @throws HubError
   */
  async deleteSlice({ uid, resourceVersion, slice }: SliceView): Promise<void> {
    const value = {
      apiVersion: 'v1',
      kind: 'DeleteOptions',
      preconditions: { uid, resourceVersion },
    };
    const path = slicePath(slice.metadata.namespace, slice.metadata.name);
    await this.#send('DELETE', path, {}, { type: 'application/json', value }, [404]);
  }

  /**
   * Writes a status; an object that is gone meanwhile is no fault.
   * @throws HubError
   */
  async putStatus(
    plural: 'dpugroups' | 'dpurules',
    { namespace, name }: { readonly namespace: string; readonly name: string },
    status: unknown,
  ): Promise<void> {
    const path = `/apis/${API_VERSION}/namespaces/${encodeURIComponent(namespace)}/${plural}/${encodeURIComponent(name)}/status`;
    const query = { fieldManager: SPOKE_MANAGER };
    await this.#send('PATCH', path, query, { type: MERGE, value: { status } }, [404]);
  }

  /**
   * Says of a policy why it is refused. The same words of the same policy are one Event, whoever leads.
   * @throws HubError
   */
  async refusal({ policy, reason, message }: RefusedPolicy): Promise<void> {
    const { namespace, name, uid } = policy;
    const note = message.slice(0, MESSAGE_MAX);
    const digest = createHash('sha256').update(`${uid} ${reason} ${note}`).digest('hex');
    const value = {
      apiVersion: 'events.k8s.io/v1',
      kind: 'Event',
      metadata: { name: `${name.slice(0, 200)}.${digest.slice(0, 16)}`, namespace },
      eventTime: new Date().toISOString().replace('Z', '000Z'),
      reportingController: 'dpu.network/spoke',
      reportingInstance: this.#id,
      action: 'Translate',
      type: 'Warning',
      reason,
      note,
      regarding: {
        apiVersion: 'networking.k8s.io/v1',
        kind: 'NetworkPolicy',
        namespace,
        name,
        uid,
      },
    };
    const path = `/apis/events.k8s.io/v1/namespaces/${encodeURIComponent(namespace)}/events`;
    await this.#send('POST', path, {}, { type: 'application/json', value }, [409]);
  }

  async #send(
    method: 'PATCH' | 'DELETE' | 'POST',
    path: string,
    query: Readonly<Record<string, string>>,
    body: { readonly type: string; readonly value: unknown },
    accepted: readonly number[] = [],
  ): Promise<unknown> {
    fence(this.#leader);
    const answer = await this.#client.send(method, path, query, body);
    if (answer.status < 300 || accepted.includes(answer.status)) return answer.body;
    throw refused(answer, path);
  }
}

function slicePath(namespace: string, name: string): string {
  return `/apis/${API_VERSION}/namespaces/${encodeURIComponent(namespace)}/dpugroupslices/${encodeURIComponent(name)}`;
}

function refused({ status, body }: KubeAnswer, url: string): HubError {
  const said: unknown =
    typeof body === 'object' && body !== null ? Reflect.get(body, 'message') : undefined;
  const message = typeof said === 'string' ? said.slice(0, MESSAGE_MAX) : '';
  const code = status === 409 ? 'HUB_CONFLICT' : 'HUB_REFUSED';
  return new HubError(code, `the API server refuses with ${status}: ${message}`, { url, status });
}
