/**
 * The version of this product. `npm run check` holds it equal to package.json.
 */

/** Version by semantic versioning. */
export const VERSION = '0.1.0';
