// Rules past their time: which they are at a moment, and a timer that the wall clock may jump under.
import { mock } from 'node:test';
import t from 'tap';
import { rulesAt } from '../../../src/agent/rules/expiry.ts';
import { ExpiryTimer } from '../../../src/agent/rules/expiry-timer.ts';
import { allowedIn, rule } from '../../support/model.ts';

const NOON = Date.parse('2026-12-01T12:00:00Z');
const entry = (name: string, expiresAt?: string): Record<string, unknown> => ({
  name,
  vni: 1000,
  match: {},
  action: 'deny',
  ...(expiresAt === undefined ? {} : { expiresAt }),
});

void t.test(
  'an entry is out of force from its moment on, and others stay as they are',
  async (t) => {
    const plain = allowedIn(rule('plain', { rules: [entry('a')] }), 1000);
    const mixed = allowedIn(
      rule('mixed', {
        rules: [
          entry('a'),
          entry('b', '2026-12-01T12:00:00Z'),
          entry('c', '2026-12-01T14:00:00+01:00'),
        ],
      }),
      1000,
    );
    const before = rulesAt([plain, mixed], NOON - 1);
    t.strictSame(before.rules, [plain, mixed]);
    t.equal(before.rules[1], mixed, 'untouched, so nothing is compiled again');
    t.equal(before.nextExpiryMs, NOON);
    const at = rulesAt([plain, mixed], NOON);
    t.equal(at.rules[0], plain);
    t.match(at.rules[1]?.verdicts, [
      { vni: 1000 },
      { vni: undefined, reason: 'Expired', message: /since 2026-12-01T12:00:00Z/ },
      { vni: 1000 },
    ]);
    t.equal(at.nextExpiryMs, Date.parse('2026-12-01T13:00:00Z'));
    t.equal(rulesAt([plain, mixed], at.nextExpiryMs ?? 0).nextExpiryMs, undefined);
    const refused = {
      object: mixed.object,
      verdicts: mixed.verdicts.map(() => ({ reason: 'Invalid' })),
    };
    t.match(rulesAt([refused], NOON).rules[0]?.verdicts[1], { reason: 'Invalid' });
  },
);

t.test(
  'the timer follows the wall clock, whichever way it jumps, and is one at most',
  async (t) => {
    mock.timers.enable({ apis: ['setTimeout'] });
    t.after(() => mock.timers.reset());
    let wallMs = NOON;
    const told: number[] = [];
    const timer = new ExpiryTimer({
      now: () => wallMs,
      onExpiry: () => void told.push(wallMs - NOON),
    });
    const pass = (seconds: number): void => {
      for (let second = 0; second < seconds; second++) {
        wallMs += 1000;
        mock.timers.tick(1000);
      }
    };
    timer.set(NOON + 25_000);
    pass(24);
    t.strictSame(told, []);
    pass(1);
    t.strictSame(told, [25_000], 'at its moment');
    pass(100);
    t.strictSame(told, [25_000], 'once');

    timer.set(wallMs + 3_600_000);
    wallMs += 3_599_000;
    pass(10);
    t.equal(told.length, 2, 'a jump forward is seen within ten seconds');

    const target = wallMs + 20_000;
    timer.set(target);
    pass(19);
    wallMs -= 60_000;
    pass(60);
    t.equal(told.length, 2, 'a jump back puts it off');
    pass(1);
    t.equal(told.length, 3);
    timer.set(wallMs + 1000);
    timer.close();
    pass(30);
    t.equal(told.length, 3);
  },
);
