/**
 * A range of port numbers as the fewest masked matches: at most 30 for 16 bits.
 */

/** A match on a port: `(port & mask) === value`. */
export interface MaskedPort {
  readonly value: number;
  readonly mask: number;
}

const PORT_MAX = 0xffff;

/** Splits `low..high` (both included, 0..65535) into aligned power-of-two blocks. */
export function maskedPorts(low: number, high: number): MaskedPort[] {
  const blocks: MaskedPort[] = [];
  let next = low;
  while (next <= high) {
    let size = next === 0 ? PORT_MAX + 1 : next & -next;
    while (next + size - 1 > high) size /= 2;
    blocks.push({ value: next, mask: PORT_MAX & ~(size - 1) });
    next += size;
  }
  return blocks;
}
