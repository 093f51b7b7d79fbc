/**
 * Metrics of a spoke, read when a scrape comes. Labels are bounded: there is no series per object. Names are an interface
 * for dashboards and alerts: change none.
 */
import { Gauge, Registry } from 'prom-client';
import type { Spoke } from './spoke.ts';

/** The registry of a spoke. */
export function spokeMetrics(
  spoke: Pick<Spoke, 'counts' | 'notReady'> & {
    readonly cluster: Pick<Spoke['cluster'], 'sizes' | 'held'>;
    readonly leader: Pick<Spoke['leader'], 'valid'>;
  },
): Registry {
  const registry = new Registry();
  const gauge = (
    name: string,
    help: string,
    labelNames: string[],
    read: (it: Gauge) => void,
  ): void => {
    new Gauge({
      ...{ name, help, labelNames, registers: [registry] },
      collect() {
        this.reset();
        read(this);
      },
    });
  };
  gauge('dpu_spoke_leads', 'whether this process may write', [], (it) =>
    it.set(spoke.leader.valid ? 1 : 0),
  );
  gauge('dpu_spoke_ready', 'whether everything is followed', [], (it) =>
    it.set(spoke.notReady === undefined ? 1 : 0),
  );
  gauge('dpu_spoke_objects', 'objects that are followed, by kind', ['kind'], (it) => {
    for (const [kind, size] of spoke.cluster.sizes()) it.set({ kind }, size);
  });
  gauge(
    'dpu_spoke_held_objects',
    'objects that a list missed and that are believed to be there for a while',
    [],
    (it) => it.set(spoke.cluster.held),
  );
  gauge('dpu_spoke_policies', 'NetworkPolicies by what became of them', ['state'], (it) => {
    for (const [state, count] of Object.entries(spoke.counts.policies)) it.set({ state }, count);
  });
  gauge(
    'dpu_spoke_writes',
    'writes since the start, by kind and result',
    ['kind', 'result'],
    (it) => {
      for (const [key, count] of spoke.counts.writes) {
        const [kind = '', result = ''] = key.split(' ');
        it.set({ kind, result }, count);
      }
    },
  );
  gauge('dpu_spoke_passes', 'passes since the start', [], (it) => it.set(spoke.counts.passes));
  return registry;
}
