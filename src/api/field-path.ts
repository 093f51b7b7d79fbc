/**
 * Paths of fields as people write them: `spec.rules[0].match.dstPort`, and `metadata.labels["a.b/c"]` for a key that is no
 * plain word. Formatting and parsing are each other's inverse.
 */

/** One step of a path: a key of an object or an index of a list. */
export type PathSegment = string | number;

const PLAIN_KEY = /^[A-Za-z_][A-Za-z0-9_-]*$/;
const STEP = /\.?([A-Za-z_][A-Za-z0-9_-]*)|\[(\d+)\]|\[("(?:[^"\\]|\\.)*")\]/y;
/** A key from outside may be megabytes long: a message shows this many characters. */
const KEY_SHOWN = 64;

/** The path as text; the empty path is the empty string. */
export function formatPath(segments: readonly PathSegment[]): string {
  let text = '';
  for (const segment of segments) {
    if (typeof segment === 'number') text += `[${segment}]`;
    else if (!PLAIN_KEY.test(segment) || segment.length > KEY_SHOWN)
      text += `[${JSON.stringify(segment.slice(0, KEY_SHOWN))}]`;
    else text += text === '' ? segment : `.${segment}`;
  }
  return text;
}

/** The segments of a path that {@link formatPath} wrote; what cannot be read ends the list. */
export function parsePath(text: string): PathSegment[] {
  const segments: PathSegment[] = [];
  STEP.lastIndex = 0;
  while (STEP.lastIndex < text.length) {
    const found = STEP.exec(text);
    if (found === null) break;
    const [, key, index, quoted] = found;
    if (key !== undefined) segments.push(key);
    else if (index !== undefined) segments.push(Number(index));
    else segments.push(String(JSON.parse(quoted ?? '""')));
  }
  return segments;
}
