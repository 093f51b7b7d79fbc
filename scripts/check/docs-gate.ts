/**
 * Holds the documentation to the code where the two name the same things: the tables of the pipeline and the error codes.
 */
import { existsSync, globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import type { Gate } from './gate.ts';

const PIPELINE = 'src/agent/flow/pipeline.ts';
const PIPELINE_DOC = 'docs/pipeline.md';
const ERROR_DOCS = ['README.md', 'docs/reference/errors.md'];
const ERROR_CODE = /^(CONN|DECODE|CONFIG|RULE|OVSDB|OFP|NL|HTTP|SOURCE)_[A-Z0-9_]+$/;

function read(root: string, file: string): string {
  return existsSync(join(root, file)) ? readFileSync(join(root, file), 'utf8') : '';
}

function visitLiterals(
  file: string,
  text: string,
  visit: (node: ts.Node, line: number) => void,
): void {
  const tree = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true);
  const walk = (node: ts.Node): void => {
    visit(node, tree.getLineAndCharacterOfPosition(node.getStart()).line + 1);
    ts.forEachChild(node, walk);
  };
  walk(tree);
}

/** The tables that pipeline.ts declares, as calls `table(NUMBER, 'Name')`. */
function pipelineTables(text: string): { number: string; name: string }[] {
  const tables: { number: string; name: string }[] = [];
  visitLiterals(PIPELINE, text, (node) => {
    if (!ts.isCallExpression(node) || node.expression.getText() !== 'table') return;
    const [number, name] = node.arguments;
    if (
      number !== undefined &&
      name !== undefined &&
      ts.isNumericLiteral(number) &&
      ts.isStringLiteral(name)
    ) {
      tables.push({ number: number.text, name: name.text });
    }
  });
  return tables;
}

function checkTables(root: string): string[] {
  const source = read(root, PIPELINE);
  if (source === '') return [];
  const tables = pipelineTables(source);
  if (tables.length === 0) return [`${PIPELINE}: no call table(NUMBER, 'Name') was found`];
  // Rows `| 17 | Entry | ...`, with or without backquotes.
  const rows = new Map<string, string>();
  for (const [, number = '', name = ''] of read(root, PIPELINE_DOC).matchAll(
    /^\| *`?(\d+)`? *\| *`?(\w+)`? *\|/gm,
  )) {
    rows.set(number, name);
  }
  return tables
    .filter(({ number, name }) => rows.get(number) !== name)
    .map(
      ({ number, name }) =>
        `${PIPELINE_DOC}: no row "| ${number} | ${name} |", which ${PIPELINE} declares`,
    );
}

function checkErrorCodes(root: string): string[] {
  const documentation = ERROR_DOCS.map((file) => read(root, file)).join('\n');
  const documented = new Set(documentation.match(/\b[A-Z]+_[A-Z0-9_]+\b/g) ?? []);
  const problems = new Map<string, string>();
  for (const file of globSync('src/**/*.ts', { cwd: root }).sort()) {
    visitLiterals(file, readFileSync(join(root, file), 'utf8'), (node, line) => {
      if (!ts.isStringLiteralLike(node) || !ERROR_CODE.test(node.text) || documented.has(node.text))
        return;
      if (!problems.has(node.text))
        problems.set(
          node.text,
          `${file}:${line}: ${node.text} is in none of ${ERROR_DOCS.join(', ')}`,
        );
    });
  }
  return [...problems.values()];
}

/** Tables of the pipeline and error codes, against the pages that must list them. */
export const docsGate: Gate = {
  name: 'docs',
  holds: 'docs/pipeline.md lists every table, and the error page every error code',
  run: async ({ root }) => [...checkTables(root), ...checkErrorCodes(root)],
};
